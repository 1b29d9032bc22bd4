// The JSON form of the vocabulary (schema/json.h).
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <utility>

#include "schema/base64.h"
#include "schema/json.h"
#include "schema/utf8.h"

namespace forkbox::schema {
namespace {

using Json = nlohmann::json;

// Ten years. Far above any limit anyone sets, far below where sums and conversions to
// nanoseconds overflow.
constexpr std::chrono::hours kLongest{24 * 3653};

Json BytesToJson(const std::string& bytes) {
  if (IsValidUtf8(bytes)) return bytes;
  return Json{{"base64", EncodeBase64(bytes)}};
}

// Reads members of one object into places that hold their defaults. The first problem stays; what
// follows it is skipped.
class Members {
 public:
  Members(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json_.is_object()) Refuse("", "must be an object");
  }

  void Read(const char* name, std::string& to) {
    if (const Json* value = Find(name)) {
      if (!value->is_string()) return Refuse(name, "must be a string");
      to = value->get_ref<const std::string&>();
    }
  }

  void Read(const char* name, bool& to) {
    if (const Json* value = Find(name)) {
      if (!value->is_boolean()) return Refuse(name, "must be true or false");
      to = value->get<bool>();
    }
  }

  template <std::integral Integer>
  requires(!std::same_as<Integer, bool>) void Read(const char* name, Integer& to) {
    if (const Json* value = Find(name)) {
      if (value->is_number_unsigned() && std::in_range<Integer>(value->get<std::uint64_t>())) {
        to = static_cast<Integer>(value->get<std::uint64_t>());
      } else if (value->is_number_integer() && !value->is_number_unsigned() &&
                 std::in_range<Integer>(value->get<std::int64_t>())) {
        to = static_cast<Integer>(value->get<std::int64_t>());
      } else {
        Refuse(name, "must be an integer from " +
                         std::to_string(std::numeric_limits<Integer>::min()) + " to " +
                         std::to_string(std::numeric_limits<Integer>::max()));
      }
    }
  }

  template <class Ratio>
  void Read(const char* name, std::chrono::duration<std::int64_t, Ratio>& to) {
    using Duration = std::chrono::duration<std::int64_t, Ratio>;
    std::int64_t count = to.count();
    Read(name, count);
    if (count < 0 || count > std::chrono::duration_cast<Duration>(kLongest).count()) {
      return Refuse(name, "must not be negative or longer than ten years");
    }
    to = Duration(count);
  }

  template <class Value>
  void Read(const char* name, std::optional<Value>& to) {
    if (Find(name) == nullptr) return;
    Value value{};
    Read(name, value);
    to = std::move(value);
  }

  template <class Enum>
  void ReadWord(const char* name, Enum& to, std::optional<Enum> (*parse)(std::string_view)) {
    std::string word;
    if (Find(name) == nullptr) return;
    Read(name, word);
    if (const std::optional<Enum> value = parse(word)) {
      to = *value;
    } else {
      Refuse(name, "is not a word of ours");
    }
  }

  // Text, or {"base64": "…"}.
  void ReadBytes(const char* name, std::string& to) {
    const Json* value = Find(name);
    if (value == nullptr || !value->is_object()) return Read(name, to);
    const auto encoded = value->find("base64");
    std::optional<std::string> bytes;
    if (encoded != value->end() && encoded->is_string()) {
      bytes = DecodeBase64(encoded->get_ref<const std::string&>());
    }
    if (!bytes) return Refuse(name, "must be a string or {\"base64\": …}");
    to = std::move(*bytes);
  }

  template <class Struct>
  void ReadStruct(const char* name, Struct& to, Result<Struct> (*from)(const Json&)) {
    if (const Json* value = Find(name)) {
      Result<Struct> read = from(*value);
      if (!read) return Adopt(name, read.error());
      to = std::move(*read);
    }
  }

  // Null when it is absent, or is no array.
  const Json* Array(const char* name) {
    const Json* value = Find(name);
    if (value == nullptr || value->is_array()) return value;
    Refuse(name, "must be an array");
    return nullptr;
  }

  const Json* Object(const char* name) {
    const Json* value = Find(name);
    if (value == nullptr || value->is_object()) return value;
    Refuse(name, "must be an object");
    return nullptr;
  }

  void Refuse(std::string_view name, std::string_view why) {
    if (!problem_.empty()) return;
    problem_ = path_;
    if (!problem_.empty() && !name.empty()) problem_ += '.';
    problem_ += name;
    if (!problem_.empty()) problem_ += ": ";
    problem_ += why;
  }

  template <class Struct>
  Result<Struct> Finish(Struct value) const {
    if (!problem_.empty()) return Fail(ErrorCode::kInvalidArgument, problem_);
    return value;
  }

  // A problem inside a member: its path is prefixed with ours.
  void Adopt(std::string_view name, const Error& error) {
    if (!problem_.empty()) return;
    const bool names_member = error.message.substr(0, 8) != "must be ";
    problem_ = std::string(name) + (names_member ? "." : ": ") + error.message;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const Json* Find(const char* name) const {
    if (!problem_.empty()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  const Json& json_;
  const std::string path_;
  std::string problem_;
};

}  // namespace

Json ToJson(const Source& source) {
  Json json{{"code", BytesToJson(source.code)}, {"entry", ToString(source.entry)}};
  for (const SourceFile& file : source.files) {
    Json entry{{"path", file.path}, {"content", BytesToJson(file.content)}};
    if (file.executable) entry["executable"] = true;
    json["files"].push_back(std::move(entry));
  }
  for (const TestCase& test : source.cases) {
    json["cases"].push_back({{"stdin", BytesToJson(test.stdin_data)},
                             {"expected_output", BytesToJson(test.expected_output)}});
  }
  if (!source.stdin_data.empty()) json["stdin"] = BytesToJson(source.stdin_data);
  if (!source.args.empty()) json["args"] = source.args;
  if (!source.env.empty()) json["env"] = source.env;
  return json;
}

Result<Source> SourceFromJson(const Json& json) {
  Source source;
  Members members(json, "");
  members.ReadBytes("code", source.code);
  members.ReadWord("entry", source.entry, ParseEntryKind);
  members.ReadBytes("stdin", source.stdin_data);
  if (const Json* files = members.Array("files")) {
    for (std::size_t i = 0; i < files->size(); ++i) {
      const std::string path = "files[" + std::to_string(i) + "]";
      SourceFile file;
      Members file_members((*files)[i], path);
      file_members.Read("path", file.path);
      file_members.ReadBytes("content", file.content);
      file_members.Read("executable", file.executable);
      if (!file_members.problem().empty()) members.Refuse("", file_members.problem());
      source.files.push_back(std::move(file));
    }
  }
  if (const Json* cases = members.Array("cases")) {
    for (std::size_t i = 0; i < cases->size(); ++i) {
      TestCase test;
      Members case_members((*cases)[i], "cases[" + std::to_string(i) + "]");
      case_members.ReadBytes("stdin", test.stdin_data);
      case_members.ReadBytes("expected_output", test.expected_output);
      if (!case_members.problem().empty()) members.Refuse("", case_members.problem());
      source.cases.push_back(std::move(test));
    }
  }
  if (const Json* args = members.Array("args")) {
    for (const Json& arg : *args) {
      if (!arg.is_string()) {
        members.Refuse("args", "must be an array of strings");
        break;
      }
      source.args.push_back(arg.get<std::string>());
    }
  }
  if (const Json* env = members.Object("env")) {
    for (const auto& [name, value] : env->items()) {
      if (!value.is_string()) {
        members.Refuse("env", "must be an object of strings");
        break;
      }
      source.env.emplace(name, value.get<std::string>());
    }
  }
  return members.Finish(std::move(source));
}

Json ToJson(const Limits& limits) {
  return {{"wall_time_ms", limits.wall.count()}, {"cpu_time_ms", limits.cpu.count()},
          {"memory_bytes", limits.memory_bytes}, {"pids", limits.pids},
          {"disk_bytes", limits.disk_bytes},     {"output_bytes", limits.output_bytes}};
}

Result<Limits> LimitsFromJson(const Json& json) {
  Limits limits;
  Members members(json, "");
  members.Read("wall_time_ms", limits.wall);
  members.Read("cpu_time_ms", limits.cpu);
  members.Read("memory_bytes", limits.memory_bytes);
  members.Read("pids", limits.pids);
  members.Read("disk_bytes", limits.disk_bytes);
  members.Read("output_bytes", limits.output_bytes);
  return members.Finish(limits);
}

Json ToJson(const Execution& execution) {
  Json json{{"id", execution.id.str()},
            {"dialect", execution.dialect},
            {"language", execution.language},
            {"source", ToJson(execution.source)},
            {"limits", ToJson(execution.limits)},
            {"isolation", ToString(execution.isolation)},
            {"delivery", ToString(execution.delivery)},
            {"priority", ToString(execution.priority)},
            {"created_unix_ms", execution.created_unix_ms}};
  if (!execution.owner.empty()) json["owner"] = execution.owner.str();
  if (!execution.key_id.empty()) json["key_id"] = execution.key_id.str();
  if (!execution.request_id.empty()) json["request_id"] = execution.request_id;
  if (!execution.client_address.empty()) json["client_address"] = execution.client_address;
  if (!execution.client_reference.empty()) json["client_reference"] = execution.client_reference;
  if (!execution.idempotency_key.empty()) json["idempotency_key"] = execution.idempotency_key;
  if (!execution.webhook_url.empty()) json["webhook_url"] = execution.webhook_url;
  if (!execution.reply_to.empty()) json["reply_to"] = execution.reply_to;
  if (!execution.dialect_context.empty()) json["dialect_context"] = execution.dialect_context;
  if (execution.queue_deadline_unix_ms) {
    json["queue_deadline_unix_ms"] = *execution.queue_deadline_unix_ms;
  }
  return json;
}

Result<Execution> ExecutionFromJson(const Json& json) {
  Execution execution;
  std::string id;
  std::string owner;
  std::string key_id;
  Members members(json, "");
  members.Read("id", id);
  members.Read("owner", owner);
  members.Read("dialect", execution.dialect);
  members.Read("language", execution.language);
  members.ReadStruct("source", execution.source, SourceFromJson);
  members.ReadStruct("limits", execution.limits, LimitsFromJson);
  members.ReadWord("isolation", execution.isolation, ParseIsolation);
  members.ReadWord("delivery", execution.delivery, ParseDelivery);
  members.ReadWord("priority", execution.priority, ParsePriority);
  members.Read("key_id", key_id);
  members.Read("request_id", execution.request_id);
  members.Read("client_address", execution.client_address);
  members.Read("client_reference", execution.client_reference);
  members.Read("idempotency_key", execution.idempotency_key);
  members.Read("webhook_url", execution.webhook_url);
  members.Read("reply_to", execution.reply_to);
  members.Read("dialect_context", execution.dialect_context);
  members.Read("queue_deadline_unix_ms", execution.queue_deadline_unix_ms);
  members.Read("created_unix_ms", execution.created_unix_ms);
  if (id.empty()) members.Refuse("id", "is required");
  execution.id = ExecutionId(std::move(id));
  execution.owner = OwnerId(std::move(owner));
  execution.key_id = KeyId(std::move(key_id));
  return members.Finish(std::move(execution));
}

Json ToJson(const Usage& usage) {
  return {{"cpu_time_us", usage.cpu.count()},
          {"wall_time_us", usage.wall.count()},
          {"peak_memory_bytes", usage.peak_memory_bytes}};
}

Result<Usage> UsageFromJson(const Json& json) {
  Usage usage;
  Members members(json, "");
  members.Read("cpu_time_us", usage.cpu);
  members.Read("wall_time_us", usage.wall);
  members.Read("peak_memory_bytes", usage.peak_memory_bytes);
  return members.Finish(usage);
}

Json ToJson(const Timings& timings) {
  return {{"queue_us", timings.queue.count()},
          {"fork_us", timings.fork.count()},
          {"compile_us", timings.compile.count()},
          {"exec_us", timings.exec.count()},
          {"total_us", timings.total.count()}};
}

Result<Timings> TimingsFromJson(const Json& json) {
  Timings timings;
  Members members(json, "");
  members.Read("queue_us", timings.queue);
  members.Read("fork_us", timings.fork);
  members.Read("compile_us", timings.compile);
  members.Read("exec_us", timings.exec);
  members.Read("total_us", timings.total);
  return members.Finish(timings);
}

namespace {

Json ToJson(const CaseOutcome& outcome) {
  Json json{{"verdict", ToString(outcome.verdict)},
            {"reason", ToString(outcome.reason)},
            {"stdout", outcome.stdout_text},
            {"stderr", outcome.stderr_text},
            {"usage", ToJson(outcome.usage)}};
  if (outcome.exit_code) json["exit_code"] = *outcome.exit_code;
  if (outcome.signal) json["signal"] = *outcome.signal;
  if (outcome.stdout_truncated) json["stdout_truncated"] = true;
  if (outcome.stderr_truncated) json["stderr_truncated"] = true;
  return json;
}

Result<CaseOutcome> CaseOutcomeFromJson(const Json& json) {
  CaseOutcome outcome;
  Members members(json, "");
  members.ReadWord("verdict", outcome.verdict, ParseVerdict);
  members.ReadWord("reason", outcome.reason, ParseReason);
  members.Read("exit_code", outcome.exit_code);
  members.Read("signal", outcome.signal);
  members.Read("stdout", outcome.stdout_text);
  members.Read("stderr", outcome.stderr_text);
  members.Read("stdout_truncated", outcome.stdout_truncated);
  members.Read("stderr_truncated", outcome.stderr_truncated);
  members.ReadStruct("usage", outcome.usage, UsageFromJson);
  return members.Finish(std::move(outcome));
}

}  // namespace

Json ToJson(const Outcome& outcome) {
  Json json{{"state", ToString(outcome.state)}, {"reason", ToString(outcome.reason)},
            {"stdout", outcome.stdout_text},    {"stderr", outcome.stderr_text},
            {"usage", ToJson(outcome.usage)},   {"timings", ToJson(outcome.timings)}};
  if (outcome.exit_code) json["exit_code"] = *outcome.exit_code;
  if (outcome.signal) json["signal"] = *outcome.signal;
  if (outcome.stdout_truncated) json["stdout_truncated"] = true;
  if (outcome.stderr_truncated) json["stderr_truncated"] = true;
  if (!outcome.compile_output.empty()) json["compile_output"] = outcome.compile_output;
  if (outcome.value_json) json["value_json"] = *outcome.value_json;
  if (!outcome.message.empty()) json["message"] = outcome.message;
  // What says nothing of it ran as a process, as everything once did.
  if (outcome.isolation != Isolation::kProcess) json["isolation"] = ToString(outcome.isolation);
  if (!outcome.accelerator.empty()) json["accelerator"] = outcome.accelerator;
  for (const CaseOutcome& one : outcome.cases) json["cases"].push_back(ToJson(one));
  return json;
}

Result<Outcome> OutcomeFromJson(const Json& json) {
  Outcome outcome;
  Members members(json, "");
  members.ReadWord("state", outcome.state, ParseState);
  members.ReadWord("reason", outcome.reason, ParseReason);
  members.Read("exit_code", outcome.exit_code);
  members.Read("signal", outcome.signal);
  members.Read("stdout", outcome.stdout_text);
  members.Read("stderr", outcome.stderr_text);
  members.Read("stdout_truncated", outcome.stdout_truncated);
  members.Read("stderr_truncated", outcome.stderr_truncated);
  members.Read("compile_output", outcome.compile_output);
  members.Read("value_json", outcome.value_json);
  members.Read("message", outcome.message);
  members.ReadWord("isolation", outcome.isolation, ParseIsolation);
  members.Read("accelerator", outcome.accelerator);
  members.ReadStruct("usage", outcome.usage, UsageFromJson);
  members.ReadStruct("timings", outcome.timings, TimingsFromJson);
  if (const Json* cases = members.Array("cases")) {
    for (std::size_t i = 0; i < cases->size(); ++i) {
      Result<CaseOutcome> one = CaseOutcomeFromJson((*cases)[i]);
      if (!one) {
        members.Adopt("cases[" + std::to_string(i) + "]", one.error());
        break;
      }
      outcome.cases.push_back(std::move(*one));
    }
  }
  if (!IsTerminal(outcome.state)) members.Refuse("state", "must be terminal");
  return members.Finish(std::move(outcome));
}

}  // namespace forkbox::schema
