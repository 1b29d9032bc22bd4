// DeliveryStore: webhooks that are owed, and every attempt to pay. The row is written by
// ExecutionStore in the transaction that makes the execution terminal (an outbox), so a crash
// neither loses nor invents one.
//
// Thread-safe; calls return once their change is durable. Errors as for ExecutionStore.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/strong_id.h"
#include "schema/execution.h"

namespace forkbox::store {

using DeliveryId = StrongId<struct DeliveryIdTag>;  // UUIDv7; the `webhook-id` receivers see

enum class DeliveryState {
  kPending,    // owed; next_attempt_unix_ms says when
  kDelivered,  // the receiver said 2xx
  kDead,       // given up: out of attempts, or told to stop
};
std::string_view ToString(DeliveryState state);  // "pending", "delivered", "dead"
std::optional<DeliveryState> ParseDeliveryState(std::string_view word);

struct Delivery {
  DeliveryId id;
  schema::ExecutionId execution_id;
  schema::OwnerId owner;
  std::string url;
  DeliveryState state = DeliveryState::kPending;
  int attempts = 0;  // made and recorded so far
  std::int64_t created_unix_ms = 0;
  std::int64_t next_attempt_unix_ms = 0;  // pending only; while claimed, when the claim ends
  std::int64_t finished_unix_ms = 0;      // 0 while pending
  std::string body;  // as first sent, so that all attempts are the same; "" before
};

// One POST and what came of it. Never what the receiver answered beyond its status.
struct DeliveryAttempt {
  int number = 0;  // from 1
  std::int64_t started_unix_ms = 0;
  std::int64_t duration_ms = 0;
  int status = 0;     // HTTP; 0 when there was no answer
  std::string error;  // why it does not count as delivered, in our words; "" when it does
};

// What becomes of the delivery after an attempt.
struct AttemptResult {
  DeliveryAttempt attempt;
  DeliveryState state = DeliveryState::kPending;
  std::int64_t next_attempt_unix_ms = 0;  // when still pending
};

struct DeliveryHistory {
  Delivery delivery;
  std::vector<DeliveryAttempt> attempts;  // oldest first
};

struct DeliveryCounts {
  std::uint64_t pending = 0;
  std::uint64_t dead = 0;
  std::int64_t oldest_due_unix_ms = 0;  // of the pending ones; 0 when none
};

class DeliveryStore {
 public:
  virtual ~DeliveryStore() = default;

  // Takes up to `limit` pending deliveries that are due and claimed by nobody (or by a claim that
  // has expired), those longest due, for `sender` until `expires_unix_ms`; oldest first. Of several
  // senders at once each delivery goes to one. One whose claim expires is due from then on, behind
  // those that were due before: what cannot be sent does not hold up the rest.
  virtual Result<std::vector<Delivery>> ClaimDue(const std::string& sender,
                                                 std::int64_t now_unix_ms,
                                                 std::int64_t expires_unix_ms,
                                                 std::size_t limit) = 0;

  // Keeps the body for all attempts to come; the first to do so wins. Returns the body that counts.
  virtual Result<std::string> FixBody(const DeliveryId& id, const std::string& body) = 0;

  // Records an attempt and ends the claim. kNotFound when `sender` does not hold it any more: then
  // nothing is recorded.
  virtual Result<void> RecordAttempt(const DeliveryId& id, const std::string& sender,
                                     const AttemptResult& result) = 0;
  // Ends the claim without an attempt, for a sender that shuts down.
  virtual Result<void> ReleaseDelivery(const DeliveryId& id, const std::string& sender) = 0;

  // Everything but the bodies about the webhooks of an execution, oldest first; of more than 100
  // the newest. kNotFound for an unknown execution, and for another owner's when `owner` is given.
  virtual Result<std::vector<DeliveryHistory>> ListDeliveries(
      const schema::ExecutionId& execution, const std::optional<schema::OwnerId>& owner) = 0;

  // Owes the webhook of a finished execution once more, by a new delivery due now. kNotFound as
  // above; kConflict when the execution is not finished, has no webhook, or a delivery is pending.
  virtual Result<DeliveryId> Redeliver(const schema::ExecutionId& execution,
                                       const std::optional<schema::OwnerId>& owner,
                                       std::int64_t now_unix_ms) = 0;

  virtual Result<DeliveryCounts> CountDeliveries() = 0;
};

}  // namespace forkbox::store
