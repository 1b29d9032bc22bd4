// Dispatcher: pays the webhooks that the store says are owed.
//
// It claims what is due, words the result, signs, sends and records what came of it. All attempts
// of a delivery carry the same body and the same webhook-id; a receiver may see one twice (a claim
// ends when its dispatcher has died, and another takes over), and tells by the id. Any number of
// dispatchers share a store: none sends what another is sending.
//
// A store that is away makes it wait, and what is already sent is recorded when it is back.
//
//   Dispatcher dispatcher(options, …);
//   dispatcher.Start();
//   dispatcher.Drain(deadline);   // takes nothing new, ends what is in flight, gives back the rest
//
// Thread-safe, but for Start() and Drain(), which belong to one thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "store/delivery_store.h"
#include "store/execution_store.h"
#include "store/webhook_secret_store.h"
#include "webhook/address_guard.h"
#include "webhook/retry_policy.h"
#include "webhook/send_queue.h"
#include "webhook/sender.h"

namespace forkbox::webhook {

struct DispatcherOptions {
  std::string sender_id;  // of this process and no other, ever: it holds the claims
  std::size_t max_in_flight = 64;
  std::size_t max_in_flight_per_host = 8;
  std::chrono::milliseconds poll_interval{500};
  std::chrono::milliseconds attempt_deadline{15'000};
  // Longer than an attempt by at least claim_margin: a claim with less than both left is not begun
  // any more. The margin is for slow records and for clocks that differ between machines.
  std::chrono::milliseconds claim_lifetime{60'000};
  std::chrono::milliseconds claim_margin{10'000};
  std::size_t claim_batch = 32;
  std::size_t threads = 4;  // that ask the store; its group commit makes one write of theirs
  RetryPolicy retry;
};

struct DispatcherStats {
  std::uint64_t delivered = 0;        // deliveries, since the start
  std::uint64_t dead = 0;             // deliveries given up
  std::uint64_t failed_attempts = 0;  // of both kinds, and of those still to be delivered
  std::size_t in_flight = 0;
  std::size_t waiting = 0;  // claimed and not yet sent
};

class Dispatcher {
 public:
  // The result document of a finished execution: JSON, in the words of its dialect. Called from
  // several threads.
  using Render = std::function<Result<std::string>(const store::ExecutionRecord&)>;

  // All references must outlive it.
  Dispatcher(DispatcherOptions options, store::DeliveryStore& deliveries,
             store::WebhookSecretStore& secrets, store::ExecutionStore& executions, Render render,
             AddressGuard guard, const Clock& clock, Log log);
  // The same with a sender that is not CurlSender.
  Dispatcher(DispatcherOptions options, store::DeliveryStore& deliveries,
             store::WebhookSecretStore& secrets, store::ExecutionStore& executions, Render render,
             AddressGuard guard, const Clock& clock, Log log, std::unique_ptr<Sender> sender);
  ~Dispatcher();  // drains without patience
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void Start();  // at most once

  // Something has just become due: look now instead of at the next poll.
  void Wake();

  // Returns when nothing is in flight or claimed any more; what is in flight at the deadline is cut
  // off and owed as before. Takes as long beyond the deadline as the store takes to answer.
  void Drain(Deadline deadline);

  [[nodiscard]] DispatcherStats Stats() const;

 private:
  using Job = std::function<void()>;
  // A delivery whose turn is over, as the store is to be told.
  struct Ended {
    store::Delivery delivery;
    std::optional<store::AttemptResult> result;  // null: no attempt, the claim is given back
  };

  void Work();
  Job NextJob();                                           // waits for one; null when drained
  Job TakeJob(std::chrono::steady_clock::time_point now);  // null: there is none now
  [[nodiscard]] bool MayClaim() const;
  [[nodiscard]] bool IsIdle() const;
  void Claim();
  void Begin(SendQueue::Entry entry);
  // Takes the body out of the delivery.
  Result<Request> Prepare(store::Delivery& delivery, std::int64_t now_unix_ms);
  Result<std::string> TakeBody(store::Delivery& delivery);
  // Logs why; what the owner of the webhook sees is `what`.
  tl::unexpected<Error> Unreadable(const store::Delivery& delivery, const char* what,
                                   const Error& why) const;
  void OnAnswer(const SendQueue::Entry& entry, const Answer& answer, std::int64_t started_unix_ms,
                SteadyTime started_at);
  void Settle(Ended ended);
  // How the store's answer was; when it is away, everything waits a while.
  void Heard(const std::optional<Error>& error);

  const DispatcherOptions options_;
  store::DeliveryStore& deliveries_;
  store::WebhookSecretStore& secrets_;
  store::ExecutionStore& executions_;
  const Render render_;
  const AddressGuard guard_;
  const Clock& clock_;
  const Log log_;

  mutable std::mutex mutex_;  // guards everything down to the sender
  std::condition_variable changed_;
  SendQueue queue_;
  std::deque<Ended> ended_;  // to be told to the store
  std::size_t busy_ = 0;     // jobs being done
  bool claiming_ = false;    // one of them is Claim()
  bool woken_ = false;
  bool draining_ = false;
  std::chrono::steady_clock::time_point next_claim_;
  std::chrono::steady_clock::time_point store_back_at_;  // nothing is asked of it before
  std::chrono::milliseconds store_pause_{0};             // 0: it answered
  std::mt19937_64 chance_{std::random_device{}()};
  DispatcherStats stats_;

  std::unique_ptr<Sender> sender_;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

}  // namespace forkbox::webhook
