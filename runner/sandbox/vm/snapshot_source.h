// SnapshotSource: forks of a template's memory file. The template boots once in a cell, over a
// memory file that is shared with us; when it is warm its state is saved, the file sealed and the
// template ended. A fork is a new QEMU in a cell of its own (launch/), over the same file
// privately, which loads the state and stays paused until it is resumed. Works with any
// accelerator.
//
// See machine_source.h.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

class SnapshotSource final : public MachineSource {
 public:
  // `client` outlives it. `launcher_index` is the template of launch/ in the forkserver's
  // configuration; `cell` are the limits of each machine's cell, the template's included.
  SnapshotSource(ForkserverClient& client, std::size_t launcher_index, const schema::Limits& cell,
                 const Machine& machine, Log log);

  [[nodiscard]] std::string_view name() const override { return "snapshot"; }
  Result<void> Prepare(Deadline deadline) override;
  Result<ReadyMachine> Fork(Deadline deadline) override;
  [[nodiscard]] std::string WhyStale() const override;

 private:
  // What forks are made of. Descriptors of files that nobody can write any more.
  struct Snapshot {
    UniqueFd ram;
    std::string state;  // some 60 kB, given to each fork as a file of its own
    std::string key;    // MachineKey() of what wrote it
    std::string qemu_build;
  };

  ForkserverClient& client_;
  const std::size_t launcher_index_;
  const schema::Limits cell_;
  const Machine machine_;
  const Log log_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_;  // shared with forks that are being made
};

}  // namespace forkbox::sandbox::vm
