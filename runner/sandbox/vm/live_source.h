// LiveSource: forks of one stopped QEMU process, its guest's memory and its translated code
// included (under emulation a virtual machine is nothing but a process). The template is a warm
// template of the forkserver like a language's: QEMU with libforkbox_vm_live.so in front of it
// (live/), which asks the guest's agent, stops the machine and serves forks into cells.
#pragma once

#include <cstddef>

#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

class LiveSource final : public MachineSource {
 public:
  // `client` outlives it. `template_index` is that of LiveTemplate() in the forkserver's
  // configuration; `cell` are the limits of each machine's cell.
  LiveSource(ForkserverClient& client, std::size_t template_index, const schema::Limits& cell);

  [[nodiscard]] std::string_view name() const override { return "live"; }
  Result<void> Prepare(Deadline deadline) override;
  Result<ReadyMachine> Fork(Deadline deadline) override;
  [[nodiscard]] std::string WhyStale() const override;

 private:
  ForkserverClient& client_;
  const std::size_t template_index_;
  const schema::Limits cell_;
};

}  // namespace forkbox::sandbox::vm
