// NcaRefusals: the last jobs that were refused because the queue was full. They have an id but no
// row, and whoever asks for one learns why it never ran.
//
// Thread-safe. Bounded: the oldest is forgotten. Other API processes do not know them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/execution.h"

namespace forkbox::api {

class NcaRefusals {
 public:
  explicit NcaRefusals(std::size_t most) : most_(most) {}

  void Add(schema::ExecutionId id, schema::OwnerId owner, std::int64_t now_unix_ms,
           std::string answer) {
    const std::lock_guard lock(mutex_);
    refusals_.push_back({std::move(id), std::move(owner), now_unix_ms, std::move(answer)});
    if (refusals_.size() > most_) refusals_.pop_front();
  }

  // The answer that was given; null for an unknown id, and for another owner's.
  [[nodiscard]] std::optional<std::string> Find(const schema::ExecutionId& id,
                                                const schema::OwnerId& owner) const {
    const std::lock_guard lock(mutex_);
    for (const Refusal& refusal : refusals_) {
      if (refusal.id == id && refusal.owner == owner) return refusal.answer;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::vector<schema::ExecutionId> Since(std::int64_t unix_ms,
                                                       const schema::OwnerId& owner) const {
    const std::lock_guard lock(mutex_);
    std::vector<schema::ExecutionId> ids;
    for (const Refusal& refusal : refusals_) {
      if (refusal.unix_ms >= unix_ms && refusal.owner == owner) ids.push_back(refusal.id);
    }
    return ids;
  }

 private:
  struct Refusal {
    schema::ExecutionId id;
    schema::OwnerId owner;
    std::int64_t unix_ms = 0;
    std::string answer;
  };

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::deque<Refusal> refusals_;  // guarded by mutex_; oldest first
};

}  // namespace forkbox::api
