// ExecutionStore: the truth about every accepted execution. The queue only dispatches; what the
// store says happened is what happened.
//
// Thread-safe. Every call returns once its change is durable, batched with whatever else arrived
// meanwhile: an insert or an outcome would survive kill -9 and a power cut. A claim, its release
// or its voiding would survive kill -9; a power cut of the database's machine may forget it, and
// the run is then repeated, to still one result. Changes take effect in the order of the calls.
// The *Async forms return at once and call back from a thread of the store, which must not be
// blocked. State transitions are conditional writes: the first terminal write wins, so any number
// of deliveries give one result; and the same transaction writes the webhook that is then owed
// (store/delivery_store.h), so that neither exists without the other.
// Errors: kUnavailable when the database is away (nothing was written), kDeadlineExceeded when it
// went away while it wrote (nobody knows; to ask again is harmless), kInternal when it failed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::store {

// One row: the request as accepted, how far it came, and its outcome once terminal.
struct ExecutionRecord {
  schema::Execution execution;
  schema::State state = schema::State::kQueued;
  int attempts = 0;                        // claims so far
  std::string runner;                      // who holds the claim; "" when none
  std::int64_t claim_expires_unix_ms = 0;  // after this the claim may be taken over
  std::int64_t started_unix_ms = 0;        // first claim; 0 before
  std::int64_t finished_unix_ms = 0;       // 0 before
  std::optional<schema::Outcome> outcome;  // set exactly when the state is terminal
};

enum class ClaimVerdict {
  kClaimed,
  kFinished,   // already terminal: drop the delivery
  kHeld,       // another runner holds a claim that has not expired
  kExhausted,  // this would be one attempt too many; the row is now terminal as `lost`
  kUnknown,    // no such row
};

// An execution that may have to be handed to the broker again.
struct Undispatched {
  schema::ExecutionId id;
  std::int64_t dispatched_unix_ms = 0;  // when that was last done
};

// Of everything accepted and not finished, by lane.
struct LaneCounts {
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::int64_t oldest_queued_unix_ms = 0;  // when that one was accepted; 0 when none is queued
};

// What must hold for an execution to be accepted. 0 is no limit.
struct AcceptTerms {
  std::uint32_t per_minute = 0;  // executions of its key in one minute of the clock
  // Executions of its owner at once, itself included: those that run, and those of the interactive
  // lane that wait to. Work of the background is not refused for it.
  std::uint32_t concurrency = 0;
  std::uint64_t monthly_quota = 0;  // executions of its owner in one calendar month (UTC)
  // SHA-256 of the request, in hex; compared when the execution has an idempotency key that its
  // owner has used before.
  std::string request_digest{};
};

enum class AcceptVerdict {
  kAccepted,     // the row is there, `queued`
  kRateLimited,  // the key's minute is full
  kTooManyAtOnce,
  kQuotaSpent,
  kRepeated,      // the same request was accepted before, under the same idempotency key
  kOtherRequest,  // that idempotency key belongs to another request
};

struct Acceptance {
  AcceptVerdict verdict = AcceptVerdict::kAccepted;
  schema::ExecutionId id;              // with kRepeated: of the earlier one
  std::uint64_t used_this_minute = 0;  // by the key, this one included if it counts
  std::uint64_t used_this_month = 0;   // by the owner, likewise
  std::uint64_t unfinished = 0;        // of the owner at once, likewise; 0 without such a limit
  std::int64_t minute_ends_unix_ms = 0;
  std::int64_t month_ends_unix_ms = 0;
};

// One page of an owner's executions, last accepted first (by created_unix_ms, then by id).
struct HistoryQuery {
  schema::OwnerId owner{};
  std::string language{};               // "": any
  std::vector<schema::State> states{};  // none: any
  std::int64_t since_unix_ms = 0;       // accepted then or later
  std::int64_t until_unix_ms = 0;       // accepted before; 0: no bound
  schema::ExecutionId before{};         // only those that follow this one; "": from the newest
  std::size_t offset = 0;               // rows passed over; costs as many
  std::size_t limit = 20;               // of which at most 100 are honoured
};
struct HistoryPage {
  // Without execution.source, as of GetHead().
  std::vector<ExecutionRecord> records;
  bool more = false;
};

// What is forgotten of finished executions.
struct RetentionRule {
  std::int64_t finished_before_unix_ms = 0;  // 0: none by age
  std::uint64_t keep_per_owner = 0;          // the newest so many stay; 0: all
};

// What a list shows of an execution: no code, no output.
struct ExecutionSummary {
  schema::ExecutionId id;
  schema::State state = schema::State::kQueued;
  std::int64_t changed_unix_ms = 0;  // of the last change of state
};

struct ClaimRequest {
  schema::ExecutionId id;
  std::string runner;
  std::int64_t now_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;
  int max_attempts = 3;
};

class ExecutionStore {
 public:
  using Done = std::function<void(Result<void>)>;

  virtual ~ExecutionStore() = default;

  // kConflict when the id is taken; kInvalidArgument for an id that is empty, longer than 128 bytes
  // or not printable ASCII (elsewhere such an id is merely unknown). The row is `queued`.
  virtual Result<void> Insert(const schema::Execution& execution) = 0;
  virtual void InsertAsync(schema::Execution execution, Done done) = 0;

  // Inserts if the terms hold, all in one transaction, so they hold across any number of processes.
  // Whatever the verdict, nothing was written unless it is kAccepted. Also notes it in the audit
  // log when the execution has a key_id. The minute and the month are those of its created_unix_ms.
  // A repeated request is one whatever the terms. Errors as Insert(). Without terms, idempotency
  // key and key_id nothing is counted.
  virtual void AcceptAsync(schema::Execution execution, AcceptTerms terms,
                           std::function<void(Result<Acceptance>)> done) = 0;

  // queued, or running under an expired claim → running under ours, attempts + 1.
  // kHeld when it is running under the same runner's live claim, too.
  virtual Result<ClaimVerdict> Claim(const ClaimRequest& request) = 0;
  // Takes effect after every InsertAsync() called before it. For the first delivery of a message
  // that carries its execution: the run starts while the claim is on its way to the disk, and the
  // verdict decides whether its outcome counts.
  virtual void ClaimAsync(ClaimRequest request, std::function<void(Result<ClaimVerdict>)> done) = 0;

  // The claims that `runner` holds now, expired or not, last until `expires_unix_ms`: the heartbeat
  // of a runner, which keeps its work from being taken over. Returns how many.
  virtual Result<std::size_t> RenewClaims(const std::string& runner,
                                          std::int64_t expires_unix_ms) = 0;

  // running under `runner` → queued with no claim, attempts given back; for a runner that shuts
  // down before it ran the job. kNotFound when `runner` does not hold it, expired or not.
  virtual Result<void> Release(const schema::ExecutionId& id, const std::string& runner) = 0;

  // Any non-terminal state → the outcome's state. False when the row was terminal already (the
  // outcome is dropped); kNotFound for an unknown id. If the execution has a webhook_url, one
  // delivery is owed from then on; so it is when a claim ends it as `lost`.
  virtual Result<bool> Finish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                              std::int64_t now_unix_ms) = 0;
  virtual void FinishAsync(schema::ExecutionId id, schema::Outcome outcome,
                           std::int64_t now_unix_ms, std::function<void(Result<bool>)> done) = 0;

  // The same, but only of a `queued` row. False, too, when a runner has it: what that has printed
  // so far is for it to report.
  virtual void FinishQueuedAsync(schema::ExecutionId id, schema::Outcome outcome,
                                 std::int64_t now_unix_ms,
                                 std::function<void(Result<bool>)> done) = 0;

  // As FinishAsync() for an execution that was refused after all, and whoever asked was told: no
  // webhook, no usage, no list shows it, what the terms counted is given back, and its idempotency
  // key is free again.
  virtual void WithdrawAsync(schema::ExecutionId id, schema::Outcome outcome,
                             std::int64_t now_unix_ms, std::function<void(Result<bool>)> done) = 0;

  // kNotFound for an unknown id, and for another owner's when `owner` is given.
  virtual Result<ExecutionRecord> Get(const schema::ExecutionId& id,
                                      const std::optional<schema::OwnerId>& owner) = 0;
  // The same without execution.source, which may be many megabytes: for answers. Costs no memory
  // for it where the store can leave it where it is.
  virtual Result<ExecutionRecord> GetHead(const schema::ExecutionId& id,
                                          const std::optional<schema::OwnerId>& owner) {
    Result<ExecutionRecord> record = Get(id, owner);
    if (record) record->execution.source = {};
    return record;
  }

  // Of one lane, least recently dispatched first, those last dispatched before
  // `dispatched_before_unix_ms`: rows `queued`, and rows `running` whose claim expired by
  // `now_unix_ms`. A new row counts as dispatched when it was created.
  virtual Result<std::vector<Undispatched>> FindUndispatched(schema::Priority lane,
                                                             std::int64_t now_unix_ms,
                                                             std::int64_t dispatched_before_unix_ms,
                                                             std::size_t limit) = 0;
  // Notes that it is about to be dispatched again. False when somebody else noted that since it was
  // read, or it is terminal: then leave it to him.
  virtual Result<bool> NoteDispatch(const Undispatched& seen, std::int64_t now_unix_ms) = 0;

  // For a store with one runner, at start: every claim of `runner` is void from now on, because
  // the process that held it is gone. The rows are `queued`; the attempts count. Returns how many.
  virtual Result<std::size_t> VoidClaims(const std::string& runner) = 0;

  struct Counts {
    LaneCounts interactive;
    LaneCounts background;
  };
  virtual Result<Counts> CountUnfinished() = 0;

  // Newest first, at most `limit`: executions of that owner and dialect whose state last changed at
  // `since_unix_ms` or later. Those accepted more than a day before that are left out.
  virtual Result<std::vector<ExecutionSummary>> ListChangedSince(const schema::OwnerId& owner,
                                                                 const std::string& dialect,
                                                                 std::int64_t since_unix_ms,
                                                                 std::size_t limit) = 0;

  // Costs the same however long the history is (but see HistoryQuery::offset). kInvalidArgument
  // when `before` is no id; one that is forgotten still says where to go on.
  virtual Result<HistoryPage> ListHistory(const HistoryQuery& query) = 0;
  // How many a query would list in all, counted up to `at_most`.
  virtual Result<std::uint64_t> CountHistory(const HistoryQuery& query, std::uint64_t at_most) = 0;

  // Deletes at most `limit` finished rows that the rule lets go, with their deliveries and
  // idempotency keys; not those with a delivery still pending. Returns how many; 0 when it has gone
  // through all of them. By age it relies on ids being UUIDv7.
  virtual Result<std::size_t> Prune(const RetentionRule& rule, std::size_t limit) = 0;

  // One cheap round trip; the readiness of /health.
  virtual Result<void> Ping() = 0;
};

}  // namespace forkbox::store
