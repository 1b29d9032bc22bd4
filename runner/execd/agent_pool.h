// The agents of one box: a few idle ones are kept, others are started when they are needed.
//
// Thread-safe. A lease must not outlive its pool.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "runner/execd/agent_link.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class AgentPool {
 public:
  // The box must outlive it.
  explicit AgentPool(sandbox::Box& box) : box_(box) {}

  // One agent, for one user at a time. Given back as it was taken when it was released; else its
  // channel is closed, by which it ends.
  class Lease {
   public:
    Lease(AgentPool* pool, std::unique_ptr<AgentLink> link, bool is_long)
        : pool_(pool), link_(std::move(link)), is_long_(is_long) {}
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          link_(std::move(other.link_)),
          is_long_(other.is_long_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() { Close(); }

    AgentLink& operator*() const { return *link_; }
    AgentLink* operator->() const { return link_.get(); }
    // It has answered and waits for the next request.
    void Release();
    // It is of no use any more; and the idle ones, which may have been killed with it, neither.
    void Drop();

   private:
    friend class AgentPool;
    void Close();
    AgentPool* pool_;
    std::unique_ptr<AgentLink> link_;
    bool is_long_;
  };

  // `is_long`: for an upload, which may take as long as its sender; these leave some for the rest.
  // kUnavailable: the box has ended, cannot start one, or too many were busy until the deadline.
  Result<Lease> Take(Deadline deadline, bool is_long = false);

 private:
  sandbox::Box& box_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<AgentLink>> idle_;  // by mutex_
  std::size_t busy_ = 0;                          // by mutex_
  std::size_t long_ = 0;                          // by mutex_, of the busy
};

}  // namespace forkbox::execd
