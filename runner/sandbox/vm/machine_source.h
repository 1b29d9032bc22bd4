// MachineSource: where forks of a warmed virtual machine come from.
//
//   LiveSource      the stopped QEMU process is forked as it is (under emulation only)
//   SnapshotSource  a new QEMU process over the template's memory, copy-on-write, and its state
//
// Thread-safe once Prepare() has returned.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/forkserver_client.h"

namespace forkbox::sandbox::vm {

// A fork in a cell of its own, with an agent that waits for one job on `fork.channel`. Destroying
// it ends the machine.
struct ReadyMachine {
  ReadyFork fork;
  UniqueFd monitor;  // QMP of a machine that is paused; invalid for one that runs already
  std::shared_ptr<const void> lease = {};  // what must not end before it does

  // For a machine that is kept for later: waits until it has come up whole, so that one that
  // cannot is not found out by the run that it is given to. At once for one that runs already.
  // kUnavailable with QEMU's words; kDeadlineExceeded. At most once, and before Resume().
  Result<void> AwaitLoaded(Deadline deadline);
  // Lets a paused machine run, as soon as it has come up. Nothing is awaited: a machine that does
  // not is told by its end.
  Result<void> Resume();
};

class MachineSource {
 public:
  virtual ~MachineSource() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // "live", "snapshot"

  // Boots the template and waits until it has warmed up and can be forked. Called again, it makes
  // a new one. Machines of the old one live on where they are processes of their own (snapshot);
  // live ones are its children and end with it. kUnavailable or kDeadlineExceeded with the reason,
  // the end of what the guest's kernel or QEMU said included.
  virtual Result<void> Prepare(Deadline deadline) = 0;

  // What Prepare() made is not wanted, or is being made: until it is called again nothing of it
  // runs. Machines that there are may end.
  virtual void Stop() {}

  // kUnavailable when there is no template (any more), or no room for another machine.
  virtual Result<ReadyMachine> Fork(Deadline deadline) = 0;

  // Why forks can no longer be made, or should no longer be: the template died, or QEMU or the
  // image have changed on the disk. "" while all is well. Cheap: asked before every fork.
  [[nodiscard]] virtual std::string WhyStale() const = 0;
};

}  // namespace forkbox::sandbox::vm
