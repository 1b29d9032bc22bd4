#include "runner/execd/agent/account_names.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "base/unique_fd.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxBytes = 1U << 20;

std::string ReadText(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char part[16 << 10];
  while (file && text.size() < kMaxBytes) {
    const ssize_t n = ::read(file.get(), part, sizeof part);
    if (n <= 0) break;
    text.append(part, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

AccountNames::AccountNames(const std::string& passwd_path, const std::string& group_path)
    : users_(Read(passwd_path)), groups_(Read(group_path)) {}

AccountNames::Names AccountNames::Read(const std::string& path) {
  Names names;
  const std::string text = ReadText(path);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    // name:x:id:…
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || first == 0 || second == std::string_view::npos) continue;
    const std::string_view digits =
        line.substr(second + 1, line.find(':', second + 1) - second - 1);
    std::uint32_t id = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) continue;
    names.emplace(id, line.substr(0, first));  // the first line of an id counts
  }
  return names;
}

std::string AccountNames::NameOf(const Names& names, std::uint32_t id) {
  const auto found = names.find(id);
  return found != names.end() ? found->second : std::to_string(id);
}

std::optional<std::uint32_t> AccountNames::Find(const Names& names, std::string_view name,
                                                std::uint32_t own) {
  const auto ours = names.find(own);
  if (ours != names.end() && ours->second == name) return own;
  for (const auto& [id, known] : names) {
    if (known == name) return id;
  }
  return std::nullopt;
}

std::optional<uid_t> AccountNames::FindUser(std::string_view name) const {
  return Find(users_, name, ::geteuid());
}

std::optional<gid_t> AccountNames::FindGroup(std::string_view name) const {
  return Find(groups_, name, ::getegid());
}

}  // namespace forkbox::execd
