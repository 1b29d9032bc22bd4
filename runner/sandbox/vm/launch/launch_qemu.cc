#include "runner/sandbox/vm/launch/launch_qemu.h"

#include <sys/socket.h>

#include <array>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {

Result<UniqueFd> LaunchQemu(const ReadyFork& fork, const std::vector<std::string>& words, int ram,
                            int state) {
  const std::string packet = EncodeLaunch(words);
  if (packet.size() > kMaxLaunchBytes || words.size() > kMaxLaunchWords) {
    return Fail(ErrorCode::kInternal, "too many words for a launch");
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return FailErrno("socketpair");
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  const std::array<int, kLaunchFdCount> fds{theirs.get(), ram, state};
  if (!SendPacket(fork.channel.get(), packet.data(), packet.size(), fds)) {
    return FailErrno("tell the launcher");
  }
  return ours;
}

}  // namespace forkbox::sandbox::vm
