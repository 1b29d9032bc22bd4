#include "api/opensandbox/sandbox_wire.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;

constexpr schema::JsonLimits kLimits{.max_depth = 16, .max_values = 20'000, .max_bytes = 1U << 20};
constexpr ErrorCode kCodes[] = {ErrorCode::kInvalidArgument,  ErrorCode::kUnauthenticated,
                                ErrorCode::kNotFound,         ErrorCode::kConflict,
                                ErrorCode::kQueueFull,        ErrorCode::kUnavailable,
                                ErrorCode::kDeadlineExceeded, ErrorCode::kInternal};

std::string Text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

template <class Number>
std::optional<Number> NumberOf(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<Number>();
}

json PairsToJson(const std::vector<std::pair<std::string, std::string>>& pairs) {
  json array = json::array();
  for (const auto& [key, value] : pairs) array.push_back({key, value});
  return array;
}

// False when it is not an array of pairs of texts.
template <class Put>
bool ReadPairs(const json& object, const char* name, Put put) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_array()) return false;
  for (const json& one : *found) {
    if (!one.is_array() || one.size() != 2 || !one[0].is_string() || !one[1].is_string()) {
      return false;
    }
    put(one[0].get<std::string>(), one[1].get<std::string>());
  }
  return true;
}

}  // namespace

std::string SpecToJson(const sandboxes::SandboxSpec& spec) {
  json object{{"id", spec.id},
              {"owner", spec.owner},
              {"request", spec.request},
              {"metadata", PairsToJson(spec.metadata)},
              {"env", PairsToJson({spec.env.begin(), spec.env.end()})},
              {"entrypoint", spec.entrypoint},
              {"limits",
               {{"memory_bytes", spec.limits.memory_bytes},
                {"disk_bytes", spec.limits.disk_bytes},
                {"pids", spec.limits.pids},
                {"cpu_millis", spec.limits.cpu_millis}}}};
  const auto seconds = [](std::chrono::seconds time) {
    return static_cast<std::uint64_t>(time.count());
  };
  if (spec.timeout) object["timeout_s"] = seconds(*spec.timeout);
  if (spec.renew_on_access) object["renew_on_access_s"] = seconds(*spec.renew_on_access);
  return schema::DumpJson(object);
}

Result<sandboxes::SandboxSpec> SpecFromJson(std::string_view text) {
  const Result<json> read = schema::ParseJson(text, kLimits);
  if (!read) return Fail(read.error());
  const json& object = *read;
  const auto bad = [](const char* name) {
    return Fail(ErrorCode::kInvalidArgument, std::string(name) + ": not as it must be");
  };
  if (!object.is_object()) return bad("body");
  sandboxes::SandboxSpec spec;
  spec.id = Text(object, "id");
  if (spec.id.empty() || spec.id.size() > 128) return bad("id");
  spec.owner = Text(object, "owner");
  spec.request = Text(object, "request");
  if (!ReadPairs(object, "metadata", [&](std::string key, std::string value) {
        spec.metadata.emplace_back(std::move(key), std::move(value));
      })) {
    return bad("metadata");
  }
  if (!ReadPairs(object, "env", [&](std::string key, std::string value) {
        spec.env.emplace(std::move(key), std::move(value));
      })) {
    return bad("env");
  }
  if (const auto words = object.find("entrypoint"); words != object.end()) {
    if (!words->is_array()) return bad("entrypoint");
    for (const json& word : *words) {
      if (!word.is_string()) return bad("entrypoint");
      spec.entrypoint.push_back(word.get<std::string>());
    }
  }
  if (const auto limits = object.find("limits"); limits != object.end() && limits->is_object()) {
    spec.limits.memory_bytes =
        NumberOf<std::uint64_t>(*limits, "memory_bytes").value_or(spec.limits.memory_bytes);
    spec.limits.disk_bytes =
        NumberOf<std::uint64_t>(*limits, "disk_bytes").value_or(spec.limits.disk_bytes);
    spec.limits.pids = NumberOf<std::uint32_t>(*limits, "pids").value_or(spec.limits.pids);
    spec.limits.cpu_millis =
        NumberOf<std::uint32_t>(*limits, "cpu_millis").value_or(spec.limits.cpu_millis);
  }
  if (const auto time = NumberOf<std::uint32_t>(object, "timeout_s")) {
    spec.timeout = std::chrono::seconds(*time);
  }
  if (const auto time = NumberOf<std::uint32_t>(object, "renew_on_access_s")) {
    spec.renew_on_access = std::chrono::seconds(*time);
  }
  return spec;
}

std::string RecordToJson(const store::SandboxRecord& record) {
  json object{{"id", record.id},
              {"owner", record.owner},
              {"runner_id", record.runner_id},
              {"address", record.address},
              {"token", record.token},
              {"state", store::ToString(record.state)},
              {"request", record.request},
              {"metadata", PairsToJson(record.metadata)},
              {"created_unix_ms", record.created_unix_ms},
              {"changed_unix_ms", record.changed_unix_ms}};
  if (record.expires_unix_ms) object["expires_unix_ms"] = *record.expires_unix_ms;
  return schema::DumpJson(object);
}

std::optional<store::SandboxRecord> RecordFromJson(std::string_view text) {
  const Result<json> read = schema::ParseJson(text, kLimits);
  if (!read || !read->is_object()) return std::nullopt;
  const json& object = *read;
  store::SandboxRecord record;
  record.id = Text(object, "id");
  record.owner = Text(object, "owner");
  record.runner_id = Text(object, "runner_id");
  record.address = Text(object, "address");
  record.token = Text(object, "token");
  record.request = Text(object, "request");
  const auto state = store::SandboxStateOf(Text(object, "state"));
  const auto created = NumberOf<std::uint64_t>(object, "created_unix_ms");
  const auto changed = NumberOf<std::uint64_t>(object, "changed_unix_ms");
  const bool pairs = ReadPairs(object, "metadata", [&](std::string key, std::string value) {
    record.metadata.emplace_back(std::move(key), std::move(value));
  });
  if (record.id.empty() || record.token.empty() || !state || !created || !changed || !pairs) {
    return std::nullopt;
  }
  record.state = *state;
  record.created_unix_ms = static_cast<std::int64_t>(*created);
  record.changed_unix_ms = static_cast<std::int64_t>(*changed);
  if (const auto expires = NumberOf<std::uint64_t>(object, "expires_unix_ms")) {
    record.expires_unix_ms = static_cast<std::int64_t>(*expires);
  }
  return record;
}

std::string ControlErrorBody(const Error& error) {
  return schema::DumpJson({{"code", ToString(error.code)}, {"message", error.message}});
}

Error ControlErrorOf(long status, std::string_view body) {
  const Result<json> read = schema::ParseJson(body, {.max_depth = 4, .max_bytes = 64U << 10});
  if (read && read->is_object()) {
    const std::string word = Text(*read, "code");
    for (const ErrorCode code : kCodes) {
      if (word == ToString(code)) return {code, Text(*read, "message")};
    }
  }
  return {ErrorCode::kUnavailable, "the runner answered " + std::to_string(status)};
}

}  // namespace forkbox::api
