// SendQueue: deliveries that this process has claimed and not yet sent, and whose turn it is.
//
// A receiver, and an owner with however many receivers, has a bound on what is in flight at once,
// so neither takes the places of all others. Nor do they take the places to wait: of a receiver or
// owner whose last attempt was slow only a few may, the rest is dropped here and stays with the
// store until its claim ends. Within these bounds the order is that of arrival.
//
// Not thread-safe.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "store/delivery_store.h"

namespace forkbox::webhook {

class SendQueue {
 public:
  struct Limits {
    std::size_t in_flight = 64;
    std::size_t in_flight_per_host = 8;
    // Owner "" has none: without authentication that is everybody.
    std::size_t in_flight_per_owner = 32;
    std::size_t waiting = 1'000;
    std::size_t waiting_when_slow = 64;  // of one host, or of one owner
    std::chrono::milliseconds slow{2'000};
  };
  struct Entry {
    store::Delivery delivery;
    SteadyTime claim_ends;
    std::string host;  // of the URL
  };

  explicit SendQueue(Limits limits) : limits_(limits) {}

  // How many more may be claimed. One that could not be sent comes back even when there is none.
  [[nodiscard]] std::size_t Room() const {
    return limits_.waiting - std::min(limits_.waiting, waiting_.size());
  }
  void Add(store::Delivery delivery, SteadyTime claim_ends);

  // One that may be sent now; it is in flight until Done(). What is claimed for less than until
  // `needed_until` is dropped.
  std::optional<Entry> Next(SteadyTime needed_until);
  void Done(const Entry& entry, std::chrono::milliseconds duration);

  // One of those that wait, regardless of the bounds; it is not in flight.
  std::optional<Entry> Remove();

  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  // What a host or an owner has here.
  struct Lane {
    std::size_t in_flight = 0;
    std::size_t waiting = 0;
    bool slow = false;  // the last attempt was
  };
  using Lanes = std::unordered_map<std::string, Lane>;  // whose nodes stay where they are
  struct Waiting {
    Entry entry;
    Lane* host;
    Lane* owner;
  };

  [[nodiscard]] bool MayGo(const Waiting& one) const;
  [[nodiscard]] bool IsTooMany(const Waiting& one) const;
  // It waits no more.
  void Leave(const Waiting& one);
  static void ForgetIfIdle(Lanes& lanes, const std::string& name);

  const Limits limits_;
  std::size_t in_flight_ = 0;
  Lanes hosts_;
  Lanes owners_;
  std::deque<Waiting> waiting_;
};

}  // namespace forkbox::webhook
