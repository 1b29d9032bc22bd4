// SandboxEnds: writes how sandboxes have ended, and what the store could not be told until it can.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "base/clock.h"
#include "store/sandbox_store.h"

namespace forkbox::sandboxes {

struct SandboxEnd {
  std::string id;
  store::SandboxState state;
  std::string reason;
  std::string message;
  std::int64_t unix_ms;
  SteadyTime until = {};  // a row that is not there may come before
};

class SandboxEnds {
 public:
  // Both must outlive it.
  SandboxEnds(store::SandboxStore& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Now, or later.
  void Write(SandboxEnd end) {
    if (!Put(end)) WriteLater(std::move(end));
  }
  void WriteLater(SandboxEnd end) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(end));
  }

  // As far as the store is there.
  void WriteWhatWaits() {
    std::deque<SandboxEnd> waiting;
    {
      const std::lock_guard lock(mutex_);
      waiting.swap(waiting_);
    }
    bool away = false;
    std::erase_if(waiting, [&](const SandboxEnd& end) {
      if (away) return false;
      const Result<bool> written = Put(end);
      away = !written;
      return written && (*written || clock_.Now() >= end.until);
    });
    const std::lock_guard lock(mutex_);
    waiting_.insert(waiting_.end(), waiting.begin(), waiting.end());
  }

 private:
  Result<bool> Put(const SandboxEnd& end) {
    return store_.SetState(end.id, end.state, end.reason, end.message, end.unix_ms);
  }

  store::SandboxStore& store_;
  const Clock& clock_;
  std::mutex mutex_;
  std::deque<SandboxEnd> waiting_;  // by mutex_
};

}  // namespace forkbox::sandboxes
