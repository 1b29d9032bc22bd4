// VmSandbox: one forked machine and the one run in it. See driver.h for the contract.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

class VmSandbox final : public Sandbox {
 public:
  // `cpu_factor`: what a limit of processor time is multiplied by. `compile_time`: how long a
  // compiler may take beside the limits, which are those of the program alone; 0 for a language
  // that has none. `functions`: whether the language runs function entries.
  VmSandbox(ReadyMachine machine, std::string language, const schema::Limits& limits,
            int cpu_factor, std::string_view accelerator, std::chrono::microseconds fork_time,
            std::chrono::milliseconds compile_time = {}, bool functions = true);

  schema::Outcome Run(const schema::Source& source, const EventSink& sink) override;
  void Cancel() override;
  // False when there was no descriptor left for what Cancel() needs: not to be handed out.
  [[nodiscard]] bool CanBeCancelled() const { return cancel_.valid(); }

 private:
  ReadyMachine machine_;
  const std::string language_;
  const schema::Limits limits_;
  const int cpu_factor_;
  const std::string accelerator_;
  const std::chrono::microseconds fork_time_;
  const std::chrono::milliseconds compile_time_;
  const bool functions_;
  UniqueFd cancel_;  // eventfd
};

}  // namespace forkbox::sandbox::vm
