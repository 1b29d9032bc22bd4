// SnapshotSource: forks of a template's memory file. The template boots once in a cell, over a
// memory file that is shared with us; when it is warm its state is saved, the file sealed and the
// template ended. A fork is a new QEMU in a cell of its own (launch/), over the same file
// privately, which loads the state and stays paused until it is resumed. Works with any
// accelerator.
//
// See machine_source.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/log.h"
#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/machine_source.h"
#include "runner/sandbox/vm/snapshot.h"

namespace forkbox::sandbox::vm {

class SnapshotSource final : public MachineSource {
 public:
  // `client` outlives it. `launcher_index` is the template of launch/ in the forkserver's
  // configuration; `cell` are the limits of each machine's cell, the template's included.
  // `image_folder` is what the forkserver binds as kImageFolder; "": whether it changes is not
  // watched. `qemu_build`: of the QEMU that will be started; see machine.h.
  SnapshotSource(ForkserverClient& client, std::size_t launcher_index, const schema::Limits& cell,
                 const Machine& machine, Log log, std::string image_folder = "",
                 std::function<Result<std::string>()> qemu_build = QemuBuild);

  [[nodiscard]] std::string_view name() const override { return "snapshot"; }
  Result<void> Prepare(Deadline deadline) override;
  Result<ReadyMachine> Fork(Deadline deadline) override;
  [[nodiscard]] std::string WhyStale() const override;

 private:
  // What forks are made of, and what it must not be used without.
  struct Template {
    Snapshot snapshot;
    std::string key;  // MachineKey() of what wrote it
    std::string qemu_build;
    std::string image_file;  // which it was, of the image's manifest
  };

  ForkserverClient& client_;
  const std::size_t launcher_index_;
  const schema::Limits cell_;
  const Machine machine_;
  const Log log_;
  const std::string image_folder_;
  const std::function<Result<std::string>()> qemu_build_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Template> template_;  // shared with forks that are being made
};

}  // namespace forkbox::sandbox::vm
