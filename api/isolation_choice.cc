#include "api/isolation_choice.h"

#include <algorithm>
#include <utility>

namespace forkbox::api {
namespace {

using sandbox::LanguageStatus;
using sandbox::vm::VmState;
using Kind = IsolationProblem::Kind;

constexpr std::pair<IsolationChoice, std::string_view> kWords[] = {
    {IsolationChoice::kProcess, "process"},
    {IsolationChoice::kVm, "vm"},
    {IsolationChoice::kAuto, "auto"}};

// By id.
const LanguageStatus* Find(const std::vector<LanguageStatus>& languages, const std::string& id) {
  const auto found = std::ranges::find(languages, id, &LanguageStatus::id);
  return found == languages.end() ? nullptr : &*found;
}

std::string Names(const std::vector<LanguageStatus>& languages) {
  std::string names;
  for (const LanguageStatus& language : languages) {
    if (!names.empty()) names += ", ";
    names += language.id;
  }
  return names;
}

tl::unexpected<IsolationProblem> Refuse(Kind kind, std::string message, std::string limit) {
  return tl::unexpected(IsolationProblem{kind, std::move(message), std::move(limit)});
}

bool Fits(const schema::Limits& limits, const runner::VmService& vm) {
  return vm.most_memory_bytes == 0 || limits.memory_bytes <= vm.most_memory_bytes;
}

tl::expected<schema::Isolation, IsolationProblem> InMachine(const std::string& language,
                                                            const schema::Limits& limits,
                                                            const runner::VmService* vm) {
  if (vm == nullptr) {
    return Refuse(Kind::kNotOffered,
                  "this one is not available on this server: it has no virtual machines, see "
                  "`forkbox vm build` and --vm",
                  "process");
  }
  if (vm->status.state == VmState::kFailed) {
    return Refuse(Kind::kFailed, "no virtual machine can be had: " + vm->status.reason, "process");
  }
  // Of an image that boots for the first time they are known, too: none of them is ready.
  if (!vm->languages.empty()) {
    const LanguageStatus* const status = Find(vm->languages, language);
    if (status == nullptr) {
      return Refuse(Kind::kLanguage, language + " is not in the virtual machines of this server",
                    "one of: " + Names(vm->languages));
    }
    // Of a template that boots again, none are.
    if (vm->status.state == VmState::kReady && !status->ready) {
      const std::string why = status->reason.empty() ? "it did not start" : status->reason;
      return Refuse(Kind::kLanguage,
                    language + " is not available in the virtual machines of this server: " + why,
                    "a language that is available");
    }
  }
  if (!Fits(limits, *vm)) {
    const std::string most = std::to_string(vm->most_memory_bytes >> 20);
    return Refuse(Kind::kMemory,
                  "a virtual machine of this server gives a program at most " + most + " MB",
                  "at most " + most);
  }
  return schema::Isolation::kVm;
}

int Rank(VmState state) {
  switch (state) {
    case VmState::kReady:
      return 3;
    case VmState::kRebuilding:
      return 2;
    case VmState::kStarting:
      return 1;
    case VmState::kFailed:
      break;
  }
  return 0;
}

}  // namespace

std::string_view ToString(IsolationChoice choice) {
  for (const auto& [value, word] : kWords) {
    if (value == choice) return word;
  }
  return "?";
}

std::optional<IsolationChoice> ParseIsolationChoice(std::string_view word) {
  for (const auto& [value, name] : kWords) {
    if (name == word) return value;
  }
  return std::nullopt;
}

tl::expected<schema::Isolation, IsolationProblem> ChooseIsolation(
    IsolationChoice choice, const std::string& language, const schema::Limits& limits,
    const std::vector<LanguageStatus>& processes, const runner::VmService* vm) {
  if (choice == IsolationChoice::kVm) return InMachine(language, limits, vm);
  if (choice == IsolationChoice::kAuto && vm != nullptr && vm->status.state == VmState::kReady &&
      vm->status.accelerator == "kvm") {
    if (auto machine = InMachine(language, limits, vm)) return machine;
  }
  const LanguageStatus* const status = Find(processes, language);
  if (status == nullptr || !status->ready) {
    const std::string why =
        status == nullptr || status->reason.empty() ? "it did not start" : status->reason;
    return Refuse(Kind::kLanguage, language + " is not available on this server: " + why,
                  "a language that is available");
  }
  return schema::Isolation::kProcess;
}

void MergeVm(const runner::VmService& one, std::optional<runner::VmService>* all) {
  if (!*all) {
    *all = one;
    return;
  }
  runner::VmService& merged = **all;
  const std::string accelerator = one.status.state == VmState::kReady &&
                                          merged.status.state == VmState::kReady &&
                                          one.status.accelerator != merged.status.accelerator
                                      ? "tcg"
                                      : "";
  if (Rank(one.status.state) > Rank(merged.status.state)) merged.status = one.status;
  if (!accelerator.empty()) merged.status.accelerator = accelerator;
  for (const LanguageStatus& language : one.languages) {
    const auto known = std::ranges::find(merged.languages, language.id, &LanguageStatus::id);
    if (known == merged.languages.end()) {
      merged.languages.push_back(language);
    } else if (language.ready && !known->ready) {
      *known = language;
    }
  }
  if (merged.most_memory_bytes == 0 || one.most_memory_bytes == 0) {
    merged.most_memory_bytes = std::max(merged.most_memory_bytes, one.most_memory_bytes);
  } else {
    merged.most_memory_bytes = std::min(merged.most_memory_bytes, one.most_memory_bytes);
  }
  merged.machines_ready += one.machines_ready;
}

}  // namespace forkbox::api
