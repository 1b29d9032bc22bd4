#include "runner/sandbox/vm/guest/awakening.h"

#include <cpuid.h>
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

// CPUID.01H:ECX (Intel SDM 2A): whether there is RDRAND.
bool HasRdrand() {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_RDRND) != 0;
}

}  // namespace

Drawn DrawFromProcessor() {
  // An attempt may find nothing ready; Intel has it made ten times.
  constexpr int kAttempts = 10;
  Drawn drawn{};
  if (!HasRdrand()) return drawn;
  for (std::uint64_t& number : drawn) {
    bool ready = false;
    for (int attempt = 0; attempt < kAttempts && !ready; ++attempt) {
      asm volatile("rdrand %0" : "=r"(number), "=@ccc"(ready));
    }
    if (!ready) number = 0;
  }
  return drawn;
}

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
