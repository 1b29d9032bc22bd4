#include "runner/sandbox/forkserver/streams.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace forkbox::sandbox {

Result<FdPair> MakeSocketPair(int type) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return FailErrno("socketpair");
  return FdPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<FdPair> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno("pipe");
  return FdPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<Streams> MakeStreams(std::uint32_t uid) {
  auto status = MakeSocketPair(SOCK_SEQPACKET);
  auto channel = MakeSocketPair(SOCK_STREAM);
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  if (!status || !channel || !in || !out || !err) {
    return Fail(ErrorCode::kInternal, "descriptors ran out");
  }
  for (const UniqueFd* pipe : {&in->ours, &out->theirs, &err->theirs}) {
    if (uid != 0) (void)!::fchown(pipe->get(), uid, uid);
  }
  return Streams{std::move(*status), std::move(*channel), std::move(*in), std::move(*out),
                 std::move(*err)};
}

}  // namespace forkbox::sandbox
