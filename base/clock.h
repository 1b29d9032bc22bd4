// Time, injected: SystemClock in production, FakeClock in tests. Deadlines are steady time;
// timestamps that leave the process (rows, JSON) are wall-clock milliseconds since the Unix epoch.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace forkbox {

using SteadyTime = std::chrono::steady_clock::time_point;
using Deadline = SteadyTime;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual SteadyTime Now() const = 0;
  [[nodiscard]] virtual std::int64_t UnixMillis() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] std::int64_t UnixMillis() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

// Moves only when told to.
class FakeClock final : public Clock {
 public:
  [[nodiscard]] SteadyTime Now() const override {
    return SteadyTime(std::chrono::milliseconds(ms_.load()));
  }
  [[nodiscard]] std::int64_t UnixMillis() const override { return ms_.load(); }
  void Advance(std::chrono::milliseconds by) { ms_ += by.count(); }

 private:
  std::atomic<std::int64_t> ms_{1'700'000'000'000};
};

}  // namespace forkbox
