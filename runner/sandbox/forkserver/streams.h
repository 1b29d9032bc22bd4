// Sockets and pipes between the driver, templates and forks; all of them close on exec.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox {

// Two connected ends. Of a pipe, `ours` is for reading and `theirs` for writing.
struct FdPair {
  UniqueFd ours;
  UniqueFd theirs;
};

Result<FdPair> MakeSocketPair(int type);
Result<FdPair> MakePipe();

// What a fork and the driver talk through.
struct Streams {
  FdPair status;
  FdPair channel;
  FdPair in;
  FdPair out;
  FdPair err;
};

// The fork's ends of the pipes belong to `uid`, unless that is 0: else a program could not open its
// own /dev/stdout.
Result<Streams> MakeStreams(std::uint32_t uid);

}  // namespace forkbox::sandbox
