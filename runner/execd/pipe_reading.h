// Reading the output of a process in a box from its pipes.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "base/unique_fd.h"

namespace forkbox::execd {

inline constexpr std::size_t kPipeReadBytes = 64U << 10;  // what a pipe holds (pipe(7))

// Our end alone: the program's is a description of its own.
void SetNonBlocking(int fd);

enum class PipeState { kOpen, kEnded };

// One read; `consume` gets what came, if anything did.
PipeState ReadOnce(int fd, std::span<char> buffer,
                   const std::function<void(std::string_view)>& consume);

// What is in the pipe now, and no more, however fast others go on writing to it: all that a
// process that has ended can have written.
PipeState ReadWaiting(int fd, std::span<char> buffer,
                      const std::function<void(std::string_view)>& consume);

}  // namespace forkbox::execd
