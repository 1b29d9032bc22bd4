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
#include "queue/subscriptions.h"
#include "schema/execution.h"
#include "store/store.h"
#include "store/testing_sandboxes.h"

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
  // As a runner's claim would.
  void SetState(const schema::ExecutionId& id, schema::State state) {
    const std::lock_guard lock(mutex_);
    rows_.at(id).state = state;
    rows_.at(id).started_unix_ms = 1;
  }
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
  // What AcceptAsync() answers from now on, and inserts nothing; unset: it accepts whatever the
  // terms.
  void set_refusal(std::optional<store::Acceptance> refusal) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(refusal);
  }
  // Of the last AcceptAsync().
  store::AcceptTerms last_terms() {
    const std::lock_guard lock(mutex_);
    return last_terms_;
  }
  void AcceptAsync(schema::Execution execution, store::AcceptTerms terms,
                   std::function<void(Result<store::Acceptance>)> done) override {
    std::optional<store::Acceptance> refusal;
    {
      const std::lock_guard lock(mutex_);
      last_terms_ = std::move(terms);
      refusal = refusal_;
    }
    if (away) return done(Away());
    if (refusal) return done(std::move(*refusal));
    store::Acceptance acceptance;
    acceptance.id = execution.id;
    InsertAsync(std::move(execution), [acceptance = std::move(acceptance),
                                       done = std::move(done)](const Result<void>& inserted) {
      if (!inserted) return done(Fail(inserted.error()));
      done(acceptance);
    });
  }
  Result<store::HistoryPage> ListHistory(const store::HistoryQuery& query) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    store::HistoryPage page;
    std::size_t passed = 0;
    for (auto row = rows_.rbegin(); row != rows_.rend(); ++row) {
      if (!Matches(query, row->second) || passed++ < query.offset) continue;
      if (page.records.size() == query.limit) {
        page.more = true;
        break;
      }
      page.records.push_back(row->second);
    }
    return page;
  }
  Result<std::uint64_t> CountHistory(const store::HistoryQuery& query,
                                     std::uint64_t at_most) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    for (const auto& [id, row] : rows_) count += Matches(query, row) ? 1U : 0U;
    return std::min(count, at_most);
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
  void FinishQueuedAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                         std::function<void(Result<bool>)> done) override {
    const auto record = Get(id, std::nullopt);
    if (record && record->state == schema::State::kRunning) return done(false);
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
  Result<std::size_t> Prune(const store::RetentionRule&, std::size_t) override {
    return std::size_t{0};
  }
  Result<Counts> CountUnfinished() override {
    if (away) return Away();
    return Counts{};
  }

 private:
  static tl::unexpected<Error> Away() { return Fail(ErrorCode::kUnavailable, "database is away"); }
  static bool Matches(const store::HistoryQuery& query, const store::ExecutionRecord& row) {
    const schema::Execution& execution = row.execution;
    const auto& states = query.states;
    return execution.owner == query.owner &&
           (query.language.empty() || execution.language == query.language) &&
           (states.empty() || std::find(states.begin(), states.end(), row.state) != states.end()) &&
           execution.created_unix_ms >= query.since_unix_ms &&
           (query.until_unix_ms == 0 || execution.created_unix_ms < query.until_unix_ms) &&
           (query.before.empty() || execution.id < query.before);
  }

  std::mutex mutex_;
  std::optional<store::Acceptance> refusal_;
  store::AcceptTerms last_terms_;
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

class FakeKeys final : public store::KeyStore {
 public:
  std::atomic<bool> away{false};  // every call fails with kUnavailable

  Result<void> Create(const store::ApiKey& key, const std::string& digest) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    const bool known = keys_.contains(digest) || FindById(key.id) != nullptr;
    if (known) return Fail(ErrorCode::kConflict, "the key exists already");
    keys_[digest] = key;
    return {};
  }
  Result<std::optional<store::ApiKey>> FindByDigest(const std::string& digest) override {
    ++lookups;
    if (away) return Away();
    std::optional<store::ApiKey> key;
    {
      const std::lock_guard lock(mutex_);
      const auto found = keys_.find(digest);
      if (found != keys_.end()) key = found->second;
    }
    if (const auto meanwhile = after_lookup) meanwhile();
    return key;
  }
  Result<std::vector<store::ApiKey>> List(const schema::OwnerId& owner,
                                          std::size_t limit) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    std::vector<store::ApiKey> found;
    for (const auto& [digest, key] : keys_) {
      if (key.owner == owner) found.push_back(key);
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return b.id < a.id; });
    if (found.size() > limit) found.resize(limit);
    return found;
  }
  // All of them, which the contract allows.
  Result<std::vector<std::pair<std::string, store::ApiKey>>> ChangedSince(std::int64_t) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    return std::vector<std::pair<std::string, store::ApiKey>>(keys_.begin(), keys_.end());
  }
  Result<store::ApiKey> Change(const schema::OwnerId& owner, const schema::KeyId& id,
                               const store::KeyChange& change, std::int64_t) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    Result<store::ApiKey*> key = FindLive(owner, id);
    if (!key) return Fail(key.error());
    if (change.name) (*key)->name = *change.name;
    if (change.description) (*key)->description = *change.description;
    if (change.permissions) (*key)->permissions = *change.permissions;
    if (change.expires_unix_ms) (*key)->expires_unix_ms = *change.expires_unix_ms;
    if (change.enabled) (*key)->enabled = *change.enabled;
    return **key;
  }
  Result<void> Revoke(const schema::OwnerId& owner, const schema::KeyId& id,
                      std::int64_t now_unix_ms) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    Result<store::ApiKey*> key = FindLive(owner, id);
    if (!key) return Fail(key.error());
    (*key)->revoked_unix_ms = now_unix_ms;
    return {};
  }
  Result<void> Rotate(const schema::OwnerId& owner, const schema::KeyId& id,
                      const store::ApiKey& successor, const std::string& digest,
                      std::int64_t now_unix_ms) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    Result<store::ApiKey*> key = FindLive(owner, id);
    if (!key) return Fail(key.error());
    if (keys_.contains(digest)) return Fail(ErrorCode::kConflict, "the key exists already");
    (*key)->revoked_unix_ms = now_unix_ms;
    (*key)->rotated_to = successor.id;
    keys_[digest] = successor;
    return {};
  }
  Result<void> NoteUse(
      const std::vector<std::pair<schema::KeyId, std::int64_t>>& last_used_unix_ms) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    for (const auto& [id, used] : last_used_unix_ms) {
      store::ApiKey* const key = FindById(id);
      if (key != nullptr) key->last_used_unix_ms = std::max(key->last_used_unix_ms, used);
    }
    return {};
  }
  Result<store::AccountLimits> LimitsOf(const schema::OwnerId& owner) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    const auto found = limits_.find(owner);
    return found == limits_.end() ? store::AccountLimits{} : found->second;
  }
  Result<void> SetLimits(const schema::OwnerId& owner, const store::AccountLimits& limits,
                         std::int64_t) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    limits_[owner] = limits;
    return {};
  }

  std::atomic<int> lookups{0};  // of FindByDigest()
  // What happens while the answer of FindByDigest() is on its way; set while nobody asks.
  std::function<void()> after_lookup;

 private:
  static tl::unexpected<Error> Away() { return Fail(ErrorCode::kUnavailable, "database is away"); }
  // mutex_ is held.
  store::ApiKey* FindById(const schema::KeyId& id) {
    for (auto& [digest, key] : keys_) {
      if (key.id == id) return &key;
    }
    return nullptr;
  }
  Result<store::ApiKey*> FindLive(const schema::OwnerId& owner, const schema::KeyId& id) {
    store::ApiKey* const key = FindById(id);
    if (key == nullptr || key->owner != owner) return Fail(ErrorCode::kNotFound, "no such key");
    if (key->revoked_unix_ms != 0) return Fail(ErrorCode::kConflict, "the key is revoked");
    return key;
  }

  std::mutex mutex_;
  std::map<std::string, store::ApiKey> keys_;  // by digest
  std::map<schema::OwnerId, store::AccountLimits> limits_;
};

class FakeUsage final : public store::UsageStore {
 public:
  // What it answers; set before serving.
  store::UsageSummary summary;
  std::vector<store::UsageRecord> records;
  std::uint64_t this_month = 0, this_minute = 0;

  Result<store::UsageSummary> Summarize(const schema::OwnerId&, std::int64_t,
                                        std::int64_t) override {
    return summary;
  }
  Result<std::vector<store::UsageRecord>> List(const schema::OwnerId&, std::int64_t,
                                               std::size_t) override {
    return records;
  }
  Result<std::uint64_t> AcceptedThisMonth(const schema::OwnerId&, std::int64_t) override {
    return this_month;
  }
  Result<std::uint64_t> AcceptedThisMinute(const schema::KeyId&, std::int64_t) override {
    return this_minute;
  }
  Result<std::size_t> Prune(std::int64_t) override { return std::size_t{0}; }
};

class FakeAudit final : public store::AuditLog {
 public:
  Result<void> Append(const store::AuditEntry& entry) override {
    const std::lock_guard lock(mutex_);
    entries_.push_back(entry);
    return {};
  }
  Result<std::vector<store::AuditEntry>> List(const schema::OwnerId& owner,
                                              std::int64_t before_unix_ms,
                                              std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    std::vector<store::AuditEntry> found;
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      const bool early = before_unix_ms == 0 || entry->time_unix_ms < before_unix_ms;
      if (entry->owner == owner && early && found.size() < limit) found.push_back(*entry);
    }
    return found;
  }
  Result<std::size_t> Prune(std::int64_t) override { return std::size_t{0}; }

 private:
  std::mutex mutex_;
  std::vector<store::AuditEntry> entries_;
};

// A whole store around a FakeStore.
class FakeDatabase final : public store::Store {
 public:
  explicit FakeDatabase(FakeStore& executions) : executions_(executions) {}

  store::ExecutionStore& executions() override { return executions_; }
  FakeDeliveries& deliveries() override { return deliveries_; }
  FakeSecrets& webhook_secrets() override { return secrets_; }
  FakeRunners& runners() override { return runners_; }
  FakeKeys& keys() override { return keys_; }
  FakeUsage& usage() override { return usage_; }
  FakeAudit& audit() override { return audit_; }
  store::SandboxStore& sandboxes() override { return sandboxes_; }

 private:
  FakeStore& executions_;
  FakeDeliveries deliveries_;
  FakeSecrets secrets_;
  FakeRunners runners_;
  FakeKeys keys_;
  FakeUsage usage_;
  FakeAudit audit_;
  store::NoSandboxes sandboxes_;
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
    {
      const std::lock_guard lock(mutex_);
      cancelled_.push_back(id);
      changed_.notify_all();
    }
    cancels_.Announce(id);
    return {};
  }

  std::shared_ptr<void> OnWatch(std::function<void(const queue::Watch&)> on_watch) override {
    return watches_.Add(std::move(on_watch));
  }
  Result<void> SendWatch(const queue::Watch& watch) override {
    watches_.Announce(watch);
    return {};
  }
  void ExpectProgress(const schema::ExecutionId& id,
                      std::function<void(queue::Progress)> on_progress) override {
    const std::lock_guard lock(mutex_);
    expected_progress_[id] = std::move(on_progress);
  }
  void ForgetProgress(const schema::ExecutionId& id) override {
    const std::lock_guard lock(mutex_);
    expected_progress_.erase(id);
  }
  std::atomic<bool> lose_progress{false};
  void SendProgress(queue::Progress progress) override {
    if (lose_progress) return;
    std::function<void(queue::Progress)> on_progress;
    {
      const std::lock_guard lock(mutex_);
      const auto found = expected_progress_.find(progress.id);
      if (found == expected_progress_.end()) return;
      on_progress = found->second;
    }
    on_progress(std::move(progress));
  }
  std::size_t watched() {
    const std::lock_guard lock(mutex_);
    return expected_progress_.size();
  }

  // Not used by this room.
  Result<std::unique_ptr<queue::Lease>> Next(Deadline, bool) override {
    return std::unique_ptr<queue::Lease>();
  }
  std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) override {
    return cancels_.Add(std::move(on_cancel));
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
  std::map<schema::ExecutionId, std::function<void(queue::Progress)>> expected_progress_;
  queue::CancelSubscriptions cancels_;
  queue::WatchSubscriptions watches_;
};

}  // namespace forkbox::api::testing
