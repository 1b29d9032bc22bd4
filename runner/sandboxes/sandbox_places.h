// SandboxPlaces: how many sandboxes a host has room for, by number and by the sum of their limits.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/result.h"
#include "runner/sandboxes/sandbox_host.h"

namespace forkbox::sandboxes {

class SandboxPlaces {
 public:
  // 0 bytes: not bounded.
  SandboxPlaces(std::size_t most, std::uint64_t most_bytes)
      : most_(most), most_bytes_(most_bytes) {}

  // kQueueFull.
  Result<void> Take(std::uint64_t memory_bytes) {
    const std::lock_guard lock(mutex_);
    if (taken_ >= most_) {
      return Fail(ErrorCode::kQueueFull, "there are " + std::to_string(taken_) +
                                             " sandboxes here already, which is the most");
    }
    if (most_bytes_ != 0 && memory_bytes > most_bytes_ - std::min(bytes_, most_bytes_)) {
      return Fail(ErrorCode::kQueueFull,
                  "the memory of the sandboxes here leaves no room for one more of that size");
    }
    ++taken_;
    bytes_ += memory_bytes;
    return {};
  }

  void GiveBack(std::uint64_t memory_bytes) {
    const std::lock_guard lock(mutex_);
    --taken_;
    bytes_ -= memory_bytes;
  }

  // One that was taken: given back in the end unless it is kept.
  class Place {
   public:
    Place(SandboxPlaces& places, std::uint64_t memory_bytes)
        : places_(&places), memory_bytes_(memory_bytes) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      if (places_ != nullptr) places_->GiveBack(memory_bytes_);
    }
    void Keep() { places_ = nullptr; }

   private:
    SandboxPlaces* places_;
    const std::uint64_t memory_bytes_;
  };

  [[nodiscard]] SandboxHost::Room room() const {
    const std::lock_guard lock(mutex_);
    SandboxHost::Room room;
    room.sandboxes = most_ - std::min(taken_, most_);
    if (most_bytes_ != 0) room.memory_bytes = most_bytes_ - std::min(bytes_, most_bytes_);
    return room;
  }

 private:
  const std::size_t most_;
  const std::uint64_t most_bytes_;
  mutable std::mutex mutex_;
  std::size_t taken_ = 0;    // by mutex_; of those that are being opened too
  std::uint64_t bytes_ = 0;  // by mutex_; of their limits
};

}  // namespace forkbox::sandboxes
