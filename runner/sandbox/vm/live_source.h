// LiveSource: forks of one stopped QEMU process, its guest's memory and its translated code
// included (under emulation a virtual machine is nothing but a process). The template is a warm
// template of the forkserver like a language's: QEMU with libforkbox_vm_live.so in front of it
// (live/), which asks the guest's agent, stops the machine and serves forks into cells.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

// The template for the forkserver's configuration, of an emulated machine with anonymous RAM. Its
// root is that of machines, with the image as kImageFolder and libforkbox_vm_live.so's folder as
// /opt/forkbox-vm. It says that it is ready when the guest is; it ends, with the reason, when the
// guest is not to be or the process cannot be forked as it is (docs/decisions/vm-live-fork.md).
TemplateSpec LiveTemplate(const Machine& machine);

class LiveSource final : public MachineSource {
 public:
  // `client` outlives it. `template_index` is that of LiveTemplate() in the forkserver's
  // configuration; `cell` are the limits of each machine's cell. `variant`: of a template that is
  // lazy, which is booted by Prepare() alone: what it is restarted with (kVariant).
  LiveSource(ForkserverClient& client, std::size_t template_index, const schema::Limits& cell,
             std::optional<std::string> variant = std::nullopt);

  [[nodiscard]] std::string_view name() const override { return "live"; }
  // The forkserver boots the template by itself, and again when it ends: waits for that. Called
  // for one that is ready, it does nothing; one that failed before is booted anew. After a failure
  // nothing of it is left.
  Result<void> Prepare(Deadline deadline) override;
  // Machines end with their template.
  void Stop() override;
  // The machine runs already. What its kernel writes to the console comes out of `stdout_pipe`, and
  // is dropped when nobody reads it in time.
  Result<ReadyMachine> Fork(Deadline deadline) override;
  [[nodiscard]] std::string WhyStale() const override;

 private:
  Result<void> AwaitReady(Deadline deadline);

  ForkserverClient& client_;
  const std::size_t template_index_;
  const schema::Limits cell_;
  const std::optional<std::string> variant_;
  bool begun_ = false;  // one of our variant
};

}  // namespace forkbox::sandbox::vm
