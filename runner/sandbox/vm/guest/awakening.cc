#include "runner/sandbox/vm/guest/awakening.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cstddef>
#include <cstring>

#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {
namespace {

// struct rand_pool_info, with room for the seed.
struct SeedInfo {
  int entropy_bits = 8 * kSeedBytes;
  int size = kSeedBytes;
  Seed seed;
};
static_assert(offsetof(SeedInfo, seed) == sizeof(rand_pool_info));

}  // namespace

Result<void> Awake(const Awakening& awakening) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const timespec now{awakening.clock_unix_ns / kSecond, awakening.clock_unix_ns % kSecond};
  if (::clock_settime(CLOCK_REALTIME, &now) != 0) return FailErrno("set the clock");
  const UniqueFd random(::open("/dev/urandom", O_RDWR | O_CLOEXEC));
  if (!random) return FailErrno("/dev/urandom");
  const SeedInfo info{.seed = awakening.seed};
  // The first puts the seed into the pool; only the second takes it out into the generator, which
  // would else go on with its own key for a minute (random(4)).
  if (::ioctl(random.get(), RNDADDENTROPY, &info) != 0 ||
      ::ioctl(random.get(), RNDRESEEDCRNG) != 0) {
    return FailErrno("seed the kernel");
  }
  return {};
}

}  // namespace forkbox::sandbox::vm
