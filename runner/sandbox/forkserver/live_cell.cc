#include "runner/sandbox/forkserver/live_cell.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <span>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {

void LiveCell::Kill() {
  killed = true;
  ::syscall(SYS_pidfd_send_signal, cell.init_pidfd.get(), SIGKILL, nullptr, 0);
  // A freezer of v1 lets nobody out to die.
  if (frozen) (void)cgroup.Thaw();
}

bool SendFork(const WarmTemplate& warm, const LiveCell& cell, const Streams& streams) {
  TemplateFork fork;
  fork.uid = fork.gid = cell.uid;
  fork.pids = cell.pids;
  fork.disk_bytes = cell.disk_bytes;
  fork.cgroup_count = static_cast<std::uint32_t>(cell.cgroup.procs.size());
  std::array<int, kTplFixedCount + kMaxCgroups> to_template{};
  to_template[kTplInitPidfd] = cell.cell.init_pidfd.get();
  to_template[kTplStatus] = streams.status.theirs.get();
  to_template[kTplChannel] = streams.channel.theirs.get();
  to_template[kTplStdin] = streams.in.ours.get();
  to_template[kTplStdout] = streams.out.theirs.get();
  to_template[kTplStderr] = streams.err.theirs.get();
  std::size_t count = kTplFixedCount;
  for (const UniqueFd& procs : cell.cgroup.procs) to_template[count++] = procs.get();
  return warm.ready &&
         SendPacket(warm.control.get(), &fork, sizeof fork, std::span(to_template.data(), count));
}

}  // namespace forkbox::sandbox
