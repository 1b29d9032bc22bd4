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

bool Flag(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
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

Json LanguagesToJson(const std::vector<sandbox::LanguageStatus>& languages) {
  Json all = Json::array();
  for (const sandbox::LanguageStatus& language : languages) {
    all.push_back({{"id", language.id},
                   {"aliases", language.aliases},
                   {"name", language.name},
                   {"version", language.version},
                   {"ready", language.ready},
                   {"reason", language.reason},
                   {"functions", language.functions},
                   {"execution_model", languages::ToString(language.execution_model)},
                   {"extensions", language.extensions},
                   {"file_name", language.file_name},
                   {"limits", schema::ToJson(language.default_limits)}});
  }
  return all;
}

Result<std::vector<sandbox::LanguageStatus>> LanguagesFromJson(const Json& object) {
  std::vector<sandbox::LanguageStatus> languages;
  const auto list = object.find("languages");
  if (list == object.end() || !list->is_array()) {
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
    language.ready = Flag(entry, "ready");
    language.functions = Flag(entry, "functions");
    if (const auto limits = entry.find("limits"); limits != entry.end()) {
      Result<schema::Limits> read = schema::LimitsFromJson(*limits);
      if (!read) return Fail(read.error());
      language.default_limits = *read;
    }
    if (!language.id.empty()) languages.push_back(std::move(language));
  }
  return languages;
}

Json VmToJson(const VmService& vm) {
  const sandbox::vm::VmStatus& status = vm.status;
  return {{"state", sandbox::vm::ToString(status.state)},
          {"accelerator", status.accelerator},
          {"design", status.design},
          {"reason", status.reason},
          {"kvm", status.kvm},
          {"image", status.image},
          {"ram_bytes", status.ram_bytes},
          {"templates_booted", status.templates_booted},
          {"languages", LanguagesToJson(vm.languages)},
          {"most_memory_bytes", vm.most_memory_bytes},
          {"machines_ready", vm.machines_ready}};
}

sandbox::vm::VmState StateOf(std::string_view word) {
  using sandbox::vm::VmState;
  for (const VmState state : {VmState::kStarting, VmState::kReady, VmState::kRebuilding}) {
    if (word == sandbox::vm::ToString(state)) return state;
  }
  return VmState::kFailed;  // that of a later version, too: nothing can be promised of it
}

Result<VmService> VmFromJson(const Json& json) {
  VmService vm;
  vm.status.state = StateOf(Text(json, "state"));
  vm.status.accelerator = Text(json, "accelerator");
  vm.status.design = Text(json, "design");
  vm.status.reason = Text(json, "reason");
  vm.status.kvm = Text(json, "kvm");
  vm.status.image = Text(json, "image");
  vm.status.ram_bytes = Number(json, "ram_bytes").value_or(0);
  vm.status.templates_booted = Number(json, "templates_booted").value_or(0);
  vm.most_memory_bytes = Number(json, "most_memory_bytes").value_or(0);
  vm.machines_ready = Number(json, "machines_ready").value_or(0);
  auto languages = LanguagesFromJson(json);
  if (!languages) return Fail(languages.error());
  vm.languages = std::move(*languages);
  return vm;
}

}  // namespace

std::string RunnerDetailsToJson(const RunnerDetails& details) {
  Json json{{"languages", LanguagesToJson(details.languages)},
            {"missing_protections", details.missing_protections}};
  if (details.sandboxes) {
    const SandboxService& service = *details.sandboxes;
    json["sandboxes"] = {{"address", service.address},
                         {"control_token", service.control_token},
                         {"live", service.live},
                         {"room", service.room}};
    if (service.memory_room) json["sandboxes"]["memory_room"] = *service.memory_room;
  }
  if (details.vm) json["vm"] = VmToJson(*details.vm);
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
  auto languages = LanguagesFromJson(*json);
  if (!languages) return Fail(languages.error());
  details.languages = std::move(*languages);
  if (const auto vm = json->find("vm"); vm != json->end() && vm->is_object()) {
    Result<VmService> read = VmFromJson(*vm);
    if (!read) return Fail(read.error().code, "vm." + read.error().message);
    details.vm = std::move(*read);
  }
  return details;
}

}  // namespace forkbox::runner
