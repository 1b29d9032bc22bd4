#include "runner/runner_details.h"

#include <utility>

#include "schema/json.h"

namespace forkbox::runner {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::uint64_t> Number(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::vector<std::string> Texts(const Json& object, const char* name) {
  std::vector<std::string> texts;
  const auto found = object.find(name);
  if (found == object.end() || !found->is_array()) return texts;
  for (const Json& text : *found) {
    if (text.is_string()) texts.push_back(text.get<std::string>());
  }
  return texts;
}

}  // namespace

std::string RunnerDetailsToJson(const RunnerDetails& details) {
  Json all = Json::array();
  for (const sandbox::LanguageStatus& language : details.languages) {
    all.push_back({{"id", language.id},
                   {"aliases", language.aliases},
                   {"name", language.name},
                   {"version", language.version},
                   {"ready", language.ready},
                   {"reason", language.reason},
                   {"execution_model", languages::ToString(language.execution_model)},
                   {"extensions", language.extensions},
                   {"file_name", language.file_name},
                   {"limits", schema::ToJson(language.default_limits)}});
  }
  Json json{{"languages", std::move(all)}, {"missing_protections", details.missing_protections}};
  if (details.sandboxes) {
    const SandboxService& service = *details.sandboxes;
    json["sandboxes"] = {{"address", service.address},
                         {"control_token", service.control_token},
                         {"live", service.live},
                         {"room", service.room}};
    if (service.memory_room) json["sandboxes"]["memory_room"] = *service.memory_room;
  }
  return schema::DumpJson(json);
}

Result<RunnerDetails> RunnerDetailsFromJson(std::string_view text) {
  const Result<Json> json = schema::ParseJson(text, {.max_depth = 8, .max_bytes = 1U << 20});
  if (!json) return Fail(json.error());
  if (!json->is_object()) return Fail(ErrorCode::kInvalidArgument, "must be an object");
  RunnerDetails details;
  details.missing_protections = Texts(*json, "missing_protections");
  if (const auto found = json->find("sandboxes"); found != json->end() && found->is_object()) {
    SandboxService& service = details.sandboxes.emplace();
    service.address = Text(*found, "address");
    service.control_token = Text(*found, "control_token");
    service.live = Number(*found, "live").value_or(0);
    service.room = Number(*found, "room").value_or(0);
    service.memory_room = Number(*found, "memory_room");
  }
  const auto list = json->find("languages");
  if (list == json->end() || !list->is_array()) {
    return Fail(ErrorCode::kInvalidArgument, "languages: must be an array");
  }
  for (const Json& entry : *list) {
    if (!entry.is_object()) {
      return Fail(ErrorCode::kInvalidArgument, "languages: must be objects");
    }
    sandbox::LanguageStatus language;
    language.id = Text(entry, "id");
    language.aliases = Texts(entry, "aliases");
    language.name = Text(entry, "name");
    language.version = Text(entry, "version");
    language.reason = Text(entry, "reason");
    language.extensions = Texts(entry, "extensions");
    // A runner of before the model was told has interpreted languages only.
    language.execution_model = languages::ParseExecutionModel(Text(entry, "execution_model"))
                                   .value_or(languages::ExecutionModel::kInterpreted);
    language.file_name = Text(entry, "file_name");
    const auto ready = entry.find("ready");
    language.ready = ready != entry.end() && ready->is_boolean() && ready->get<bool>();
    if (const auto limits = entry.find("limits"); limits != entry.end()) {
      Result<schema::Limits> read = schema::LimitsFromJson(*limits);
      if (!read) return Fail(read.error());
      language.default_limits = *read;
    }
    if (!language.id.empty()) details.languages.push_back(std::move(language));
  }
  return details;
}

}  // namespace forkbox::runner
