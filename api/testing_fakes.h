// Fakes of the store and the broker, for tests of this room: rows and waiters in maps, every delay
// and failure on command. Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "queue/broker.h"
#include "schema/execution.h"
#include "store/store.h"

namespace forkbox::api::testing {

class FakeStore final : public store::ExecutionStore {
 public:
  // Inserts wait for LetGo(), as on a slow disk.
  void Hold() {
    const std::lock_guard lock(mutex_);
    holding_ = true;
  }
  void LetGo() {
    std::vector<std::function<void()>> held;
    {
      const std::lock_guard lock(mutex_);
      holding_ = false;
      held.swap(held_);
    }
    for (const auto& insert : held) insert();
  }
  std::atomic<bool> away{false};  // every call fails with kUnavailable
  std::atomic<bool> finished_before_withdrawn{false};

  bool Has(const schema::ExecutionId& id) { return Get(id, std::nullopt).has_value(); }
  std::size_t rows() {
    const std::lock_guard lock(mutex_);
    return rows_.size();
  }

  Result<void> Insert(const schema::Execution& execution) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    store::ExecutionRecord record;
    record.execution = execution;
    if (!rows_.emplace(execution.id, std::move(record)).second) {
      return Fail(ErrorCode::kConflict, "taken");
    }
    return {};
  }
  void InsertAsync(schema::Execution execution, Done done) override {
    auto insert = [this, execution = std::move(execution), done = std::move(done)] {
      done(Insert(execution));
    };
    {
      const std::lock_guard lock(mutex_);
      if (holding_) {
        held_.emplace_back(std::move(insert));
        return;
      }
    }
    insert();
  }
  Result<bool> Finish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                      std::int64_t now_unix_ms) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    const auto row = rows_.find(id);
    if (row == rows_.end()) return Fail(ErrorCode::kNotFound, "no row");
    if (schema::IsTerminal(row->second.state)) return false;
    row->second.state = outcome.state;
    row->second.outcome = outcome;
    row->second.finished_unix_ms = now_unix_ms;
    return true;
  }
  void FinishAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                   std::function<void(Result<bool>)> done) override {
    done(Finish(id, outcome, now_unix_ms));
  }
  Result<store::ExecutionRecord> Get(const schema::ExecutionId& id,
                                     const std::optional<schema::OwnerId>& owner) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    const auto row = rows_.find(id);
    const bool hidden = row != rows_.end() && owner && row->second.execution.owner != *owner;
    if (row == rows_.end() || hidden) return Fail(ErrorCode::kNotFound, "no row");
    return row->second;
  }
  Result<void> Ping() override {
    if (away) return Away();
    return {};
  }

  void WithdrawAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                     std::function<void(Result<bool>)> done) override {
    {
      const std::lock_guard lock(mutex_);
      ++withdrawn_;
    }
    if (finished_before_withdrawn) (void)Finish(id, outcome, now_unix_ms);
    done(Finish(id, outcome, now_unix_ms));
  }
  std::size_t withdrawn() {
    const std::lock_guard lock(mutex_);
    return withdrawn_;
  }
  Result<std::vector<store::ExecutionSummary>> ListChangedSince(const schema::OwnerId& owner,
                                                                const std::string& dialect,
                                                                std::int64_t since_unix_ms,
                                                                std::size_t limit) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    std::vector<store::ExecutionSummary> found;
    for (const auto& [id, row] : rows_) {
      const std::int64_t changed =
          std::max({row.execution.created_unix_ms, row.started_unix_ms, row.finished_unix_ms});
      if (row.execution.owner == owner && row.execution.dialect == dialect &&
          changed >= since_unix_ms && found.size() < limit) {
        found.push_back({id, row.state, changed});
      }
    }
    return found;
  }

  // Not used by this room.
  Result<store::ClaimVerdict> Claim(const store::ClaimRequest&) override {
    return store::ClaimVerdict::kUnknown;
  }
  void ClaimAsync(store::ClaimRequest request,
                  std::function<void(Result<store::ClaimVerdict>)> done) override {
    done(Claim(request));
  }
  Result<void> Release(const schema::ExecutionId&, const std::string&) override { return {}; }
  Result<std::size_t> RenewClaims(const std::string&, std::int64_t) override {
    return std::size_t{0};
  }
  Result<std::vector<store::Undispatched>> FindUndispatched(schema::Priority, std::int64_t,
                                                            std::int64_t, std::size_t) override {
    return std::vector<store::Undispatched>{};
  }
  Result<bool> NoteDispatch(const store::Undispatched&, std::int64_t) override { return false; }
  Result<std::size_t> VoidClaims(const std::string&) override { return std::size_t{0}; }
  Result<Counts> CountUnfinished() override {
    if (away) return Away();
    return Counts{};
  }

 private:
  static tl::unexpected<Error> Away() { return Fail(ErrorCode::kUnavailable, "database is away"); }

  std::mutex mutex_;
  bool holding_ = false;
  std::vector<std::function<void()>> held_;
  std::size_t withdrawn_ = 0;
  std::map<schema::ExecutionId, store::ExecutionRecord> rows_;
};

class FakeDeliveries final : public store::DeliveryStore {
 public:
  std::vector<store::DeliveryHistory> histories;  // what ListDeliveries() knows; set before serving

  Result<std::vector<store::DeliveryHistory>> ListDeliveries(
      const schema::ExecutionId& execution, const std::optional<schema::OwnerId>&) override {
    std::vector<store::DeliveryHistory> found;
    for (const auto& one : histories) {
      if (one.delivery.execution_id == execution) found.push_back(one);
    }
    if (found.empty()) return Fail(ErrorCode::kNotFound, "no such execution");
    return found;
  }
  Result<store::DeliveryId> Redeliver(const schema::ExecutionId& execution,
                                      const std::optional<schema::OwnerId>& owner,
                                      std::int64_t) override {
    const auto known = ListDeliveries(execution, owner);
    if (!known) return Fail(known.error());
    return store::DeliveryId("again");
  }
  Result<store::DeliveryCounts> CountDeliveries() override { return store::DeliveryCounts{}; }

  // Not used by this room.
  Result<std::vector<store::Delivery>> ClaimDue(const std::string&, std::int64_t, std::int64_t,
                                                std::size_t) override {
    return std::vector<store::Delivery>{};
  }
  Result<std::string> FixBody(const store::DeliveryId&, const std::string& body) override {
    return body;
  }
  Result<void> RecordAttempt(const store::DeliveryId&, const std::string&,
                             const store::AttemptResult&) override {
    return {};
  }
  Result<void> ReleaseDelivery(const store::DeliveryId&, const std::string&) override { return {}; }
};

class FakeSecrets final : public store::WebhookSecretStore {
 public:
  Result<std::vector<store::WebhookSecret>> ActiveSecrets(const schema::OwnerId& owner,
                                                          std::int64_t now_unix_ms) override {
    const std::lock_guard lock(mutex_);
    std::vector<store::WebhookSecret> active;
    for (const auto& secret : secrets_[owner]) {
      if (secret.expires_unix_ms == 0 || secret.expires_unix_ms > now_unix_ms) {
        active.push_back(secret);
      }
    }
    return active;
  }
  Result<void> AddSecret(const schema::OwnerId& owner, const std::string& secret,
                         std::int64_t now_unix_ms, std::int64_t previous_expires) override {
    const std::lock_guard lock(mutex_);
    auto& all = secrets_[owner];
    if (!all.empty()) all.front().expires_unix_ms = previous_expires;
    all.insert(all.begin(), {secret, now_unix_ms, 0});
    if (all.size() > 2) all.resize(2);
    return {};
  }

 private:
  std::mutex mutex_;
  std::map<schema::OwnerId, std::vector<store::WebhookSecret>> secrets_;
};

class FakeRunners final : public store::RunnerRegistry {
 public:
  std::vector<store::RunnerInfo> alive;  // set before serving
  std::optional<store::RunnerInfo> last;

  Result<void> Beat(const store::RunnerInfo&) override { return {}; }
  Result<void> Leave(const std::string&) override { return {}; }
  Result<std::vector<store::RunnerInfo>> AliveRunners(std::int64_t) override { return alive; }
  Result<std::optional<store::RunnerInfo>> LastRunner() override { return last; }
};

// A whole store around a FakeStore.
class FakeDatabase final : public store::Store {
 public:
  explicit FakeDatabase(FakeStore& executions) : executions_(executions) {}

  store::ExecutionStore& executions() override { return executions_; }
  FakeDeliveries& deliveries() override { return deliveries_; }
  FakeSecrets& webhook_secrets() override { return secrets_; }
  FakeRunners& runners() override { return runners_; }

 private:
  FakeStore& executions_;
  FakeDeliveries deliveries_;
  FakeSecrets secrets_;
  FakeRunners runners_;
};

class FakeBroker final : public queue::Broker {
 public:
  // What a runner would do with a message; called from Publish. Null: messages lie there.
  using Runner = std::function<void(FakeBroker&, const queue::Message&)>;

  void set_runner(Runner runner) {
    const std::lock_guard lock(mutex_);
    runner_ = std::move(runner);
  }
  void set_depth(queue::Depth depth) {
    const std::lock_guard lock(mutex_);
    depth_ = depth;
  }
  // From now on it cannot say.
  void forget_depth() {
    const std::lock_guard lock(mutex_);
    depth_.reset();
  }
  // What Publish fails with from now on.
  void set_refusal(std::optional<Error> refusal) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(refusal);
  }
  std::vector<queue::Message> published() {
    const std::lock_guard lock(mutex_);
    return published_;
  }
  std::vector<schema::ExecutionId> cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  std::size_t expected() {
    const std::lock_guard lock(mutex_);
    return expected_.size();
  }
  // Waits until that many messages have been published / cancelled.
  void AwaitPublished(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return published_.size() >= count; });
  }
  void AwaitCancelled(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled_.size() >= count; });
  }

  void PublishAsync(queue::Message message, Done done) override {
    Runner runner;
    std::optional<Error> refusal;
    {
      const std::lock_guard lock(mutex_);
      refusal = refusal_;
      if (!refusal) published_.push_back(message);
      runner = runner_;
      changed_.notify_all();
    }
    if (refusal) return done(Fail(*refusal));
    done({});
    if (runner) runner(*this, message);
  }
  void FreshDepth(schema::Priority lane, std::function<void(Result<queue::Depth>)> done) override {
    done(GetDepth(lane));
  }
  [[nodiscard]] const std::string& ReplyAddress() const override { return reply_address_; }
  Result<queue::Depth> GetDepth(schema::Priority) override {
    const std::lock_guard lock(mutex_);
    if (!depth_) return Fail(ErrorCode::kUnavailable, "not connected");
    return *depth_;
  }
  void Expect(const schema::ExecutionId& id, std::function<void(queue::Reply)> on_reply) override {
    const std::lock_guard lock(mutex_);
    expected_[id] = std::move(on_reply);
  }
  void Forget(const schema::ExecutionId& id) override {
    const std::lock_guard lock(mutex_);
    expected_.erase(id);
  }
  void SendReply(queue::Reply reply) override {
    std::function<void(queue::Reply)> on_reply;
    {
      const std::lock_guard lock(mutex_);
      const auto found = expected_.find(reply.id);
      if (found == expected_.end()) return;
      on_reply = std::move(found->second);
      expected_.erase(found);
    }
    on_reply(std::move(reply));
  }
  Result<void> Cancel(const schema::ExecutionId& id) override {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
    changed_.notify_all();
    return {};
  }

  // Not used by this room.
  Result<std::unique_ptr<queue::Lease>> Next(Deadline, bool) override {
    return std::unique_ptr<queue::Lease>();
  }
  std::shared_ptr<void> OnCancel(std::function<void(const schema::ExecutionId&)>) override {
    return nullptr;
  }
  Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority) override {
    return std::optional<std::int64_t>();
  }
  Result<void> Status() override {
    const std::lock_guard lock(mutex_);
    if (refusal_ && refusal_->code == ErrorCode::kUnavailable) return Fail(*refusal_);
    return {};
  }
  void Close() override {}

 private:
  const std::string reply_address_ = "api-under-test";
  std::mutex mutex_;
  std::condition_variable changed_;
  Runner runner_;
  std::optional<queue::Depth> depth_ = queue::Depth{};
  std::optional<Error> refusal_;
  std::vector<queue::Message> published_;
  std::vector<schema::ExecutionId> cancelled_;
  std::map<schema::ExecutionId, std::function<void(queue::Reply)>> expected_;
};

}  // namespace forkbox::api::testing
