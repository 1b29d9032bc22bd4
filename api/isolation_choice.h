// What a program is to be isolated with: what a client, or the server's default, asks for, and what
// that comes to on the installation as it is. The same rules for every dialect.
//
//   auto chosen = ChooseIsolation(IsolationChoice::kAuto, "python", limits, *languages.All(),
//                                 languages.Vm().get());
//   if (chosen) execution.isolation = *chosen;
//
// Plain values and functions. An execution that was accepted for a virtual machine runs in one or
// not at all: nothing here ever falls back to less than was asked for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "runner/runner_details.h"
#include "runner/sandbox/driver.h"
#include "schema/execution.h"

namespace forkbox::api {

enum class IsolationChoice { kProcess, kVm, kAuto };
std::string_view ToString(IsolationChoice choice);  // "process", "vm", "auto"
std::optional<IsolationChoice> ParseIsolationChoice(std::string_view word);

struct IsolationProblem {
  enum class Kind {
    kNotOffered,  // there are no virtual machines here
    kFailed,      // there should be, and they cannot be had
    kLanguage,    // they have not this language, or nobody has it
    kMemory,      // a machine is smaller than that
  };
  Kind kind = Kind::kNotOffered;
  std::string message;  // one sentence without the name of a field
  std::string limit;    // what would be right: "process", "one of: python, bash"
};

// `processes` are the languages of the processes, `vm` null where there are no virtual machines.
// kAuto is a virtual machine where the hardware helps, one is ready, and it has the language and
// the memory; else a process. While machines start, or start again, what is asked of them is
// accepted, and waits.
tl::expected<schema::Isolation, IsolationProblem> ChooseIsolation(
    IsolationChoice choice, const std::string& language, const schema::Limits& limits,
    const std::vector<sandbox::LanguageStatus>& processes, const runner::VmService* vm);

// What an installation without runners of one mind has: the best state of any, the languages of
// all, the memory of the smallest, and hardware help only if all that are ready have it. Folds one
// more in.
void MergeVm(const runner::VmService& one, std::optional<runner::VmService>* all);

}  // namespace forkbox::api
