#include "runner/sandbox/vm/live/thread_identity.h"

#include <algorithm>

#include "runner/sandbox/vm/live/raw_calls.h"

namespace forkbox::sandbox::vm {
namespace {

// struct pthread of glibc 2.36 has 2304 bytes, the id at 720.
constexpr std::size_t kSearched = 2048;

}  // namespace

std::optional<std::size_t> FindThreadIdOffset(std::span<const ParkedThread> threads) {
  const ParkedThread self{.id = RawThreadId(), .thread_pointer = ThreadPointer()};
  const auto holds_id = [](const ParkedThread& thread, std::size_t offset) {
    return *ThreadIdAt(thread.thread_pointer, offset) == thread.id;
  };
  std::optional<std::size_t> found;
  for (std::size_t offset = 0; offset < kSearched; offset += sizeof(pid_t)) {
    if (!holds_id(self, offset)) continue;
    if (!std::ranges::all_of(threads, [&](const auto& t) { return holds_id(t, offset); })) continue;
    if (found) return std::nullopt;
    found = offset;
  }
  return found;
}

}  // namespace forkbox::sandbox::vm
