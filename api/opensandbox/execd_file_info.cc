#include "api/opensandbox/execd_file_info.h"

#include <cstdio>
#include <utility>

#include "api/opensandbox/execd_paths.h"
#include "base/rfc3339.h"

namespace forkbox::api {
namespace {

std::string_view TypeName(execd::FileInfo::Type type) {
  switch (type) {
    case execd::FileInfo::Type::kFile:
      return "file";
    case execd::FileInfo::Type::kDirectory:
      return "directory";
    case execd::FileInfo::Type::kSymlink:
      return "symlink";
    case execd::FileInfo::Type::kOther:
      return "other";
  }
  return "other";
}

}  // namespace

std::uint32_t OctalDigits(std::uint32_t mode) {
  return (mode >> 6 & 7U) * 100 + (mode >> 3 & 7U) * 10 + (mode & 7U);
}

std::string Rfc3339Nanos(std::int64_t unix_ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t seconds = unix_ns / kSecond;
  std::int64_t nanos = unix_ns % kSecond;
  if (nanos < 0) {  // before 1970: a file may say so
    nanos += kSecond;
    --seconds;
  }
  std::string text = Rfc3339Seconds(seconds * 1000);
  if (nanos == 0) return text;
  char fraction[16];
  std::snprintf(fraction, sizeof(fraction), ".%09lld", static_cast<long long>(nanos));
  std::string digits = fraction;
  digits.erase(digits.find_last_not_of('0') + 1);
  text.insert(text.size() - 1, digits);
  return text;
}

nlohmann::ordered_json ToJson(const execd::FileInfo& info) {
  return {{"path", info.path},
          {"type", TypeName(info.type)},
          {"size", info.size},
          {"modified_at", Rfc3339Nanos(info.modified_unix_ns)},
          {"created_at", Rfc3339Nanos(info.created_unix_ns)},
          {"owner", info.owner},
          {"group", info.group},
          {"mode", OctalDigits(info.mode)}};
}

nlohmann::ordered_json ToJson(const std::vector<execd::FileInfo>& infos) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const execd::FileInfo& info : infos) list.push_back(ToJson(info));
  return list;
}

bool ReadPath(ExecdCall& call, std::string_view text, std::string* path) {
  auto expanded = ExecdPath(text, ExecdPathEnvironment(call.daemon->env()));
  if (!expanded) {
    call.Refuse(InvalidBody(expanded.error().message));
    return false;
  }
  *path = *std::move(expanded);
  return true;
}

}  // namespace forkbox::api
