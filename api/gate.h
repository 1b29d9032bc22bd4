// Gate: lets callbacks in that others hold, until it is closed. Whoever closes it waits for those
// inside, and then may go away: no callback finds him gone.
//
//   [gate = gate_, this] { if (const Gate::Pass inside = gate->Enter()) … this … }
//
// Thread-safe. Shared by its owner and the callbacks.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace forkbox::api {

class Gate {
 public:
  class Pass {
   public:
    explicit Pass(Gate* gate) : gate_(gate) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    Gate* gate_;
  };

  // False once the gate is closed.
  [[nodiscard]] Pass Enter() {
    const std::lock_guard lock(mutex_);
    if (closed_) return Pass(nullptr);
    ++inside_;
    return Pass(this);
  }

  // Not from inside.
  void Close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    left_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  void Leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) left_.notify_all();  // under the lock: after it, the gate may be gone
  }

  std::mutex mutex_;
  std::condition_variable left_;
  int inside_ = 0;
  bool closed_ = false;
};

}  // namespace forkbox::api
