// Fakes of the store and of the sender, for tests of this room. Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/delivery_store.h"
#include "store/execution_store.h"
#include "store/webhook_secret_store.h"
#include "webhook/sender.h"

namespace forkbox::webhook::testing {

inline tl::unexpected<Error> Away() { return Fail(ErrorCode::kUnavailable, "database is away"); }

class FakeDeliveries final : public store::DeliveryStore {
 public:
  std::atomic<bool> away{false};  // every call fails with kUnavailable
  std::atomic<std::size_t> calls{0};
  std::atomic<std::size_t> released{0};  // by ReleaseDelivery()

  void Owe(store::Delivery delivery) {
    const std::lock_guard lock(mutex_);
    rows_[delivery.id].delivery = std::move(delivery);
  }
  // As if the claim had expired and another dispatcher had taken over.
  void LoseClaims() {
    const std::lock_guard lock(mutex_);
    for (auto& [id, row] : rows_) row.sender = "another";
  }
  store::Delivery Row(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return rows_.at(store::DeliveryId(id)).delivery;
  }
  std::string Sender(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return rows_.at(store::DeliveryId(id)).sender;
  }
  std::vector<store::DeliveryAttempt> Attempts(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return rows_.at(store::DeliveryId(id)).attempts;
  }

  Result<std::vector<store::Delivery>> ClaimDue(const std::string& sender, std::int64_t now,
                                                std::int64_t expires, std::size_t limit) override {
    ++calls;
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    std::vector<store::Delivery> due;
    for (auto& [id, row] : rows_) {
      if (due.size() == limit) break;
      if (row.delivery.state != store::DeliveryState::kPending ||
          row.delivery.next_attempt_unix_ms > now || row.expires > now) {
        continue;
      }
      row.sender = sender;
      row.expires = expires;
      due.push_back(row.delivery);
    }
    return due;
  }
  Result<std::string> FixBody(const store::DeliveryId& id, const std::string& body) override {
    if (away) return Away();
    if (body.find('\0') != std::string::npos) return Fail(ErrorCode::kInvalidArgument, "body");
    const std::lock_guard lock(mutex_);
    std::string& kept = rows_.at(id).delivery.body;
    if (kept.empty()) kept = body;
    return kept;
  }
  Result<void> RecordAttempt(const store::DeliveryId& id, const std::string& sender,
                             const store::AttemptResult& result) override {
    ++calls;
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    Kept& row = rows_.at(id);
    if (row.sender != sender) return Fail(ErrorCode::kNotFound, "not held");
    row.sender.clear();
    row.expires = 0;
    row.attempts.push_back(result.attempt);
    row.delivery.attempts = result.attempt.number;
    row.delivery.state = result.state;
    row.delivery.next_attempt_unix_ms = result.next_attempt_unix_ms;
    return {};
  }
  Result<void> ReleaseDelivery(const store::DeliveryId& id, const std::string& sender) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    Kept& row = rows_.at(id);
    if (row.sender != sender) return Fail(ErrorCode::kNotFound, "not held");
    ++released;
    row.sender.clear();
    row.expires = 0;
    return {};
  }

  // Not used by this room.
  Result<std::vector<store::DeliveryHistory>> ListDeliveries(
      const schema::ExecutionId&, const std::optional<schema::OwnerId>&) override {
    return std::vector<store::DeliveryHistory>{};
  }
  Result<store::DeliveryId> Redeliver(const schema::ExecutionId&,
                                      const std::optional<schema::OwnerId>&,
                                      std::int64_t) override {
    return store::DeliveryId();
  }
  Result<store::DeliveryCounts> CountDeliveries() override { return store::DeliveryCounts{}; }

 private:
  struct Kept {
    store::Delivery delivery;
    std::string sender;
    std::int64_t expires = 0;
    std::vector<store::DeliveryAttempt> attempts;
  };
  std::mutex mutex_;
  std::map<store::DeliveryId, Kept> rows_;
};

class FakeSecrets final : public store::WebhookSecretStore {
 public:
  std::map<std::string, std::vector<std::string>> of_owner;  // newest first; set before starting

  Result<std::vector<store::WebhookSecret>> ActiveSecrets(const schema::OwnerId& owner,
                                                          std::int64_t) override {
    std::vector<store::WebhookSecret> active;
    const auto found = of_owner.find(owner.str());
    if (found == of_owner.end()) return active;
    for (const std::string& secret : found->second) active.push_back({secret, 0, 0});
    return active;
  }
  Result<void> AddSecret(const schema::OwnerId&, const std::string&, std::int64_t,
                         std::int64_t) override {
    return {};
  }
};

// Knows an execution of any id; its code is the id.
class FakeExecutions final : public store::ExecutionStore {
 public:
  std::function<void()> on_get;  // before it answers; set before starting

  // What Get() fails with from now on.
  void set_failure(std::optional<Error> failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }

  Result<store::ExecutionRecord> Get(const schema::ExecutionId& id,
                                     const std::optional<schema::OwnerId>&) override {
    if (on_get) on_get();
    const std::lock_guard lock(mutex_);
    if (failure_) return Fail(*failure_);
    store::ExecutionRecord record;
    record.execution.id = id;
    record.outcome.emplace();
    return record;
  }

  // Not used by this room.
  Result<void> Insert(const schema::Execution&) override { return {}; }
  void InsertAsync(schema::Execution, Done) override {}
  void AcceptAsync(schema::Execution, store::AcceptTerms,
                   std::function<void(Result<store::Acceptance>)>) override {}
  Result<store::HistoryPage> ListHistory(const store::HistoryQuery&) override {
    return store::HistoryPage{};
  }
  Result<std::uint64_t> CountHistory(const store::HistoryQuery&, std::uint64_t) override {
    return 0;
  }
  Result<std::size_t> Prune(const store::RetentionRule&, std::size_t) override { return 0; }
  Result<store::ClaimVerdict> Claim(const store::ClaimRequest&) override {
    return store::ClaimVerdict::kUnknown;
  }
  void ClaimAsync(store::ClaimRequest, std::function<void(Result<store::ClaimVerdict>)>) override {}
  Result<std::size_t> RenewClaims(const std::string&, std::int64_t) override { return 0; }
  Result<void> Release(const schema::ExecutionId&, const std::string&) override { return {}; }
  Result<bool> Finish(const schema::ExecutionId&, const schema::Outcome&, std::int64_t) override {
    return true;
  }
  void FinishAsync(schema::ExecutionId, schema::Outcome, std::int64_t,
                   std::function<void(Result<bool>)>) override {}
  void FinishQueuedAsync(schema::ExecutionId, schema::Outcome, std::int64_t,
                         std::function<void(Result<bool>)>) override {}
  void WithdrawAsync(schema::ExecutionId, schema::Outcome, std::int64_t,
                     std::function<void(Result<bool>)>) override {}
  Result<std::vector<store::Undispatched>> FindUndispatched(schema::Priority, std::int64_t,
                                                            std::int64_t, std::size_t) override {
    return std::vector<store::Undispatched>{};
  }
  Result<bool> NoteDispatch(const store::Undispatched&, std::int64_t) override { return false; }
  Result<std::size_t> VoidClaims(const std::string&) override { return 0; }
  Result<Counts> CountUnfinished() override { return Counts{}; }
  Result<std::vector<store::ExecutionSummary>> ListChangedSince(const schema::OwnerId&,
                                                                const std::string&, std::int64_t,
                                                                std::size_t) override {
    return std::vector<store::ExecutionSummary>{};
  }
  Result<void> Ping() override { return {}; }

 private:
  std::mutex mutex_;
  std::optional<Error> failure_;
};

// Keeps requests until the test answers them.
class FakeSender final : public Sender {
 public:
  ~FakeSender() override { Abort(); }

  void Send(Request request, Done done) override {
    {
      const std::lock_guard lock(mutex_);
      if (!aborted_) {
        ++sent_;
        open_.emplace_back(std::move(request), std::move(done));
        changed_.notify_all();
        return;
      }
    }
    done({.end = Answer::End::kAborted});
  }
  void Abort() override {
    {
      const std::lock_guard lock(mutex_);
      aborted_ = true;
    }
    while (TryAnswer({.end = Answer::End::kAborted})) {
    }
  }

  // Waits for the next request.
  Request Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taken_ < open_.size(); });
    return open_[taken_++].first;
  }
  // Of the oldest request that has none.
  void Reply(Answer answer) { TryAnswer(std::move(answer)); }
  void Reply(int status) { Reply({.end = Answer::End::kAnswered, .status = status}); }

  std::size_t sent() {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

 private:
  bool TryAnswer(Answer answer) {
    Done done;
    {
      const std::lock_guard lock(mutex_);
      if (open_.empty()) return false;
      done = std::move(open_.front().second);
      open_.erase(open_.begin());
      if (taken_ > 0) --taken_;
    }
    done(std::move(answer));
    return true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool aborted_ = false;
  std::size_t sent_ = 0;
  std::size_t taken_ = 0;
  std::vector<std::pair<Request, Done>> open_;
};

}  // namespace forkbox::webhook::testing
