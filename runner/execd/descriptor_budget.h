// DescriptorBudget: how many descriptors of ours the programs of one box may keep open at once: the
// pipes, channels and ends of its commands, shells and terminals together. What cannot be had is
// told as kQueueFull, and something of the box has to end first.
//
// Beside it a box may hold its leftover pipes (leftover_pipes.h), which make room by themselves.
//
// Thread-safe.
#pragma once

#include <cstddef>
#include <mutex>
#include <utility>

#include "base/result.h"

namespace forkbox::execd {

class DescriptorBudget {
 public:
  static constexpr std::size_t kOfBox = 128;

  explicit DescriptorBudget(std::size_t limit = kOfBox) : limit_(limit) {}
  DescriptorBudget(const DescriptorBudget&) = delete;
  DescriptorBudget& operator=(const DescriptorBudget&) = delete;

  // Gives back what it has when it is destroyed or put away. Must not outlive the budget.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), descriptors_(other.descriptors_) {}
    Lease& operator=(Lease&& other) noexcept {
      if (this == &other) return *this;
      GiveBack();
      budget_ = std::exchange(other.budget_, nullptr);
      descriptors_ = other.descriptors_;
      return *this;
    }
    ~Lease() { GiveBack(); }

   private:
    friend class DescriptorBudget;
    Lease(DescriptorBudget* budget, std::size_t descriptors)
        : budget_(budget), descriptors_(descriptors) {}
    void GiveBack() {
      DescriptorBudget* const budget = std::exchange(budget_, nullptr);
      if (budget == nullptr) return;
      const std::lock_guard lock(budget->mutex_);
      budget->taken_ -= descriptors_;
    }
    DescriptorBudget* budget_ = nullptr;
    std::size_t descriptors_ = 0;
  };

  // kQueueFull.
  Result<Lease> Take(std::size_t descriptors) {
    const std::lock_guard lock(mutex_);
    if (taken_ + descriptors > limit_) {
      return Fail(ErrorCode::kQueueFull, "too much runs in this sandbox at once");
    }
    taken_ += descriptors;
    return Lease(this, descriptors);
  }

 private:
  const std::size_t limit_;
  std::mutex mutex_;
  std::size_t taken_ = 0;  // by mutex_
};

}  // namespace forkbox::execd
