// VmSandbox: one forked machine and the one run in it. See driver.h for the contract.
#pragma once

#include <chrono>

#include "base/unique_fd.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

class VmSandbox final : public Sandbox {
 public:
  // `cpu_factor`: what a limit of processor time is multiplied by.
  VmSandbox(ReadyMachine machine, std::string language, const schema::Limits& limits,
            int cpu_factor, std::string_view accelerator, std::chrono::microseconds fork_time);

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
  UniqueFd cancel_;  // eventfd
};

}  // namespace forkbox::sandbox::vm
