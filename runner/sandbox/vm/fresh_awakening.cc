#include "runner/sandbox/vm/fresh_awakening.h"

#include <sys/random.h>

#include <chrono>

#include "base/check.h"

namespace forkbox::sandbox::vm {

Awakening FreshAwakening() {
  Awakening awakening;
  awakening.clock_unix_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count();
  // Up to 256 bytes come whole, once the kernel has any (getrandom(2)).
  FORKBOX_CHECK(::getrandom(awakening.seed.data(), awakening.seed.size(), 0) ==
                static_cast<ssize_t>(awakening.seed.size()));
  return awakening;
}

}  // namespace forkbox::sandbox::vm
