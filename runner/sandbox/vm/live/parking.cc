#include "runner/sandbox/vm/live/parking.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "runner/sandbox/vm/live/quiescence.h"
#include "runner/sandbox/vm/live/raw_calls.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr std::chrono::seconds kPatience{3};  // a busy host takes its time to run seven threads
constexpr int kLookAgainMs = 20;

struct Slot {
  ParkedThread thread;
  std::atomic<std::uint32_t> parked{0};  // the round in which it was, last
};

// Written by the parking thread while nobody is in the handler.
std::array<Slot, kMaxParked> slots;
std::size_t slot_count = 0;
// Odd while threads are to stand still. A signal that arrives late finds it even, or finds its
// thread parked in the same round, or parks it in a later one, where it belongs as well.
std::atomic<std::uint32_t> round_number{0};
std::atomic<std::uint32_t> arrivals{0};  // a change is what the parking thread waits for
// How many are in the handler. One that has begun in a round that was given up may be there for as
// long as it has no processor; it must not be taken for parked in the next, nor read slots that are
// being written.
std::atomic<std::uint32_t> inside{0};

void ParkIn(std::uint32_t mine, ucontext_t* context) {
  if (mine % 2 == 0) return;
  const pid_t id = RawThreadId();
  Slot* slot = nullptr;
  for (std::size_t i = 0; i < slot_count && slot == nullptr; ++i) {
    if (slots[i].thread.id == id) slot = &slots[i];
  }
  if (slot == nullptr || slot->parked.load() == mine) return;
  slot->thread.thread_pointer = ThreadPointer();
  slot->thread.context = context;
  slot->parked.store(mine);
  arrivals.fetch_add(1);
  FutexWakeAll(arrivals);
  while (round_number.load() == mine) FutexWait(round_number, mine);
}

void Park(int, siginfo_t*, void* context) {
  inside.fetch_add(1);
  ParkIn(round_number.load(), static_cast<ucontext_t*>(context));
  if (inside.fetch_sub(1) == 1) FutexWakeAll(inside);
}

// The ids of all other threads, ascending as the kernel lists them; more than fit: one more than
// that. std::opendir() allocates, under a lock that a parked thread may hold.
std::size_t ListThreads(std::array<pid_t, kMaxParked + 1>* ids) {
  const auto directory = static_cast<int>(RawCall(
      SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/self/task"), O_RDONLY | O_DIRECTORY));
  if (directory < 0) return ids->size();
  const pid_t self = RawThreadId();
  std::size_t count = 0;
  alignas(dirent64) char buffer[4096];
  for (;;) {
    const long size =
        RawCall(SYS_getdents64, directory, reinterpret_cast<long>(buffer), sizeof buffer);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      const auto id = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
      if (id > 0 && id != self && count < ids->size()) (*ids)[count++] = id;
      at += entry->d_reclen;
    }
  }
  RawCall(SYS_close, directory);
  return count;
}

enum class Attempt { kParked, kRestless, kTooMany };

std::size_t ParkedIn(std::uint32_t round) {
  std::size_t parked = 0;
  for (std::size_t i = 0; i < slot_count; ++i) parked += slots[i].parked.load() == round ? 1 : 0;
  return parked;
}

Attempt Try(std::chrono::steady_clock::time_point deadline) {
  for (std::uint32_t late = 0; (late = inside.load()) > 0;) {
    if (std::chrono::steady_clock::now() >= deadline) return Attempt::kRestless;
    FutexWait(inside, late, kLookAgainMs);
  }
  static std::array<pid_t, kMaxParked + 1> ids;
  static std::array<pid_t, kMaxParked + 1> ids_after;
  const std::size_t count = ListThreads(&ids);
  if (count > kMaxParked) return Attempt::kTooMany;
  for (std::size_t i = 0; i < count; ++i) {
    slots[i].thread = {.id = ids[i]};
    slots[i].parked.store(0);
  }
  slot_count = count;
  const std::uint32_t round = round_number.fetch_add(1) + 1;
  const pid_t process = ::getpid();
  // One that has ended since is missed below.
  for (std::size_t i = 0; i < count; ++i) RawCall(SYS_tgkill, process, ids[i], kParkSignal);
  for (;;) {
    const std::uint32_t arrived = arrivals.load();
    if (ParkedIn(round) == count) break;
    if (std::chrono::steady_clock::now() >= deadline) return Attempt::kRestless;
    FutexWait(arrivals, arrived, kLookAgainMs);
    if (arrivals.load() == arrived && ListThreads(&ids_after) != count) return Attempt::kRestless;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!StandsInCall(*slots[i].thread.context)) return Attempt::kRestless;
  }
  // One of them may have made another after we had counted.
  return ListThreads(&ids_after) == count ? Attempt::kParked : Attempt::kRestless;
}

}  // namespace

bool PrepareParking() {
  struct sigaction action {};
  action.sa_sigaction = Park;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigfillset(&action.sa_mask);
  return ::sigaction(kParkSignal, &action, nullptr) == 0;
}

std::span<const ParkedThread> ParkThreads() {
  static std::array<ParkedThread, kMaxParked> parked;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const Attempt attempt = Try(deadline);
    if (attempt == Attempt::kParked) break;
    if (round_number.load() % 2 != 0) ReleaseThreads();
    if (attempt == Attempt::kTooMany || std::chrono::steady_clock::now() >= deadline) {
      errno = attempt == Attempt::kTooMany ? EAGAIN : EBUSY;
      return {};
    }
    const timespec pause{0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
  for (std::size_t i = 0; i < slot_count; ++i) parked[i] = slots[i].thread;
  return {parked.data(), slot_count};
}

void ReleaseThreads() {
  round_number.fetch_add(1);
  FutexWakeAll(round_number);
}

}  // namespace forkbox::sandbox::vm
