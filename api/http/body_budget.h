// BodyBudget: how many bytes of request bodies all connections together may hold in memory.
// BodyShare: one request's part of it, given back by its destructor.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace forkbox::http {

// Thread-safe. Shared by its shares, since a reply and its body may outlive the server.
class BodyBudget {
 public:
  explicit BodyBudget(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  [[nodiscard]] std::size_t used_bytes() const { return used_bytes_.load(); }

 private:
  friend class BodyShare;
  bool Take(std::size_t bytes) {
    std::size_t used = used_bytes_.load();
    do {
      if (bytes > max_bytes_ || used > max_bytes_ - bytes) return false;
    } while (!used_bytes_.compare_exchange_weak(used, used + bytes));
    return true;
  }
  void Return(std::size_t bytes) { used_bytes_ -= bytes; }

  const std::size_t max_bytes_;
  std::atomic<std::size_t> used_bytes_{0};
};

// One thread at a time. A default or moved-from share holds nothing and cannot grow.
class BodyShare {
 public:
  BodyShare() = default;
  explicit BodyShare(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  BodyShare(BodyShare&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyShare& operator=(BodyShare&& other) noexcept {
    if (this != &other) {
      Release();
      budget_ = std::move(other.budget_);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  ~BodyShare() { Release(); }

  // False, and nothing taken, when the budget is used up.
  bool Grow(std::size_t bytes) {
    if (bytes == 0) return true;
    if (budget_ == nullptr || !budget_->Take(bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  void Release() {
    if (budget_ != nullptr && bytes_ != 0) budget_->Return(bytes_);
    bytes_ = 0;
  }

 private:
  std::shared_ptr<BodyBudget> budget_;
  std::size_t bytes_ = 0;
};

}  // namespace forkbox::http
