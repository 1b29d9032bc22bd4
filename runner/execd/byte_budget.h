// ByteBudget: how much memory of this process may hold what boxes are still sending, which no box
// is charged for: listings that are being gathered, frames of sessions that are not whole yet.
// Everyone's first kAlwaysFree bytes are given without asking, so that who needs little gets it
// whatever the others do.
//
//   ByteBudget::Share share(ByteBudget::OfProcess());
//   if (!share.Resize(gathered.size())) …  // refuse, and let go of what there is
//
// A ByteBudget is thread-safe and outlives its shares; a Share is for one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace forkbox::execd {

class ByteBudget {
 public:
  static constexpr std::size_t kAlwaysFree = 64U << 10;  // of each share

  explicit ByteBudget(std::size_t limit) : limit_(limit) {}
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  // Enough for five listings of the greatest size at once, or for sixteen frames of sessions.
  static ByteBudget& OfProcess() {
    static ByteBudget budget(256U << 20);
    return budget;
  }

  [[nodiscard]] std::size_t limit() const { return limit_; }
  // Of it; without what is always free.
  [[nodiscard]] std::size_t used() const { return used_; }

  // What one holder has of it; given back with it.
  class Share {
   public:
    explicit Share(ByteBudget& budget) : budget_(&budget) {}
    Share(Share&& other) noexcept
        : budget_(other.budget_), taken_(std::exchange(other.taken_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() { budget_->used_ -= taken_; }

    // It holds so many bytes from now on. False: there is not so much left, and it holds what it
    // held. Less is always granted.
    bool Resize(std::size_t bytes) {
      const std::size_t wanted = bytes > kAlwaysFree ? bytes - kAlwaysFree : 0;
      if (wanted > taken_ && !budget_->Take(wanted - taken_)) return false;
      if (wanted < taken_) budget_->used_ -= taken_ - wanted;
      taken_ = wanted;
      return true;
    }

   private:
    ByteBudget* budget_;
    std::size_t taken_ = 0;
  };

 private:
  bool Take(std::size_t bytes) {
    std::size_t used = used_;
    do {
      if (bytes > limit_ - used) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes));
    return true;
  }

  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace forkbox::execd
