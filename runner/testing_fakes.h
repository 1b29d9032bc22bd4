// Fakes of the three interfaces a Worker stands between, for tests. Each is as simple as its
// contract allows, counts what was asked of it, and can be told to fail or to wait.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/uuid.h"
#include "queue/broker.h"
#include "queue/progress_desk.h"
#include "queue/subscriptions.h"
#include "runner/sandbox/driver.h"
#include "store/execution_store.h"

namespace forkbox::runner::testing {

// The state machine of ExecutionStore in a map. With HoldAsync() the callbacks of the Async forms
// wait until LetGo(), as they would for a slow disk.
class FakeStore final : public store::ExecutionStore {
 public:
  using Record = store::ExecutionRecord;

  Result<void> Insert(const schema::Execution& execution) override {
    const std::lock_guard lock(mu_);
    if (away_ > 0) return Away();
    Record record;
    record.execution = execution;
    if (!rows_.emplace(execution.id, std::move(record)).second) {
      return Fail(ErrorCode::kConflict, "id taken");
    }
    return {};
  }
  void InsertAsync(schema::Execution execution, Done done) override { done(Insert(execution)); }
  // Whatever the terms.
  void AcceptAsync(schema::Execution execution, store::AcceptTerms,
                   std::function<void(Result<store::Acceptance>)> done) override {
    const Result<void> inserted = Insert(execution);
    if (!inserted) return done(Fail(inserted.error()));
    store::Acceptance acceptance;
    acceptance.id = execution.id;
    done(std::move(acceptance));
  }

  Result<store::ClaimVerdict> Claim(const store::ClaimRequest& request) override {
    const std::lock_guard lock(mu_);
    ++claims;
    if (away_ > 0) return Away();
    const auto row = rows_.find(request.id);
    if (row == rows_.end()) return store::ClaimVerdict::kUnknown;
    Record& record = row->second;
    if (schema::IsTerminal(record.state)) return store::ClaimVerdict::kFinished;
    if (record.state == schema::State::kRunning &&
        record.claim_expires_unix_ms > request.now_unix_ms) {
      return store::ClaimVerdict::kHeld;
    }
    if (record.attempts >= request.max_attempts) {
      record.outcome = schema::Outcome{};
      record.outcome->state = record.state = schema::State::kLost;
      record.outcome->reason = schema::Reason::kRunnerLost;
      return store::ClaimVerdict::kExhausted;
    }
    ++record.attempts;
    record.state = schema::State::kRunning;
    record.runner = request.runner;
    record.claim_expires_unix_ms = request.expires_unix_ms;
    if (claims_in_doubt > 0) {
      --claims_in_doubt;
      return Fail(ErrorCode::kDeadlineExceeded, "the database went away while it wrote");
    }
    return store::ClaimVerdict::kClaimed;
  }
  void ClaimAsync(store::ClaimRequest request,
                  std::function<void(Result<store::ClaimVerdict>)> done) override {
    Async([this, request, done = std::move(done)] { done(Claim(request)); });
  }

  Result<void> Release(const schema::ExecutionId& id, const std::string& runner) override {
    const std::lock_guard lock(mu_);
    ++releases;
    if (away_ > 0) return Away();
    const auto row = rows_.find(id);
    if (row == rows_.end() || row->second.runner != runner ||
        row->second.state != schema::State::kRunning) {
      return Fail(ErrorCode::kNotFound, "not held");
    }
    row->second.state = schema::State::kQueued;
    row->second.runner.clear();
    row->second.claim_expires_unix_ms = 0;
    --row->second.attempts;
    return {};
  }

  Result<bool> Finish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                      std::int64_t now_unix_ms) override {
    const std::lock_guard lock(mu_);
    ++finishes;
    if (away_ > 0) {
      --away_;
      return Away();
    }
    const auto row = rows_.find(id);
    if (row == rows_.end()) return Fail(ErrorCode::kNotFound, "no such row");
    if (schema::IsTerminal(row->second.state)) return false;
    row->second.state = outcome.state;
    row->second.outcome = outcome;
    row->second.finished_unix_ms = now_unix_ms;
    ++results;
    return true;
  }
  void FinishAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                   std::function<void(Result<bool>)> done) override {
    Async([this, id, outcome = std::move(outcome), now_unix_ms, done = std::move(done)] {
      done(Finish(id, outcome, now_unix_ms));
    });
  }

  void FinishQueuedAsync(schema::ExecutionId, schema::Outcome, std::int64_t,
                         std::function<void(Result<bool>)> done) override {
    done(Fail(ErrorCode::kInternal, "no runner asks for this"));
  }

  Result<Record> Get(const schema::ExecutionId& id,
                     const std::optional<schema::OwnerId>& /*owner*/) override {
    const std::lock_guard lock(mu_);
    const auto row = rows_.find(id);
    if (row == rows_.end()) return Fail(ErrorCode::kNotFound, "no such row");
    return row->second;
  }

  void WithdrawAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                     std::function<void(Result<bool>)> done) override {
    FinishAsync(std::move(id), std::move(outcome), now_unix_ms, std::move(done));
  }

  Result<std::size_t> RenewClaims(const std::string& runner,
                                  std::int64_t expires_unix_ms) override {
    const std::lock_guard lock(mu_);
    ++renewals;
    if (away_ > 0) return Away();
    std::size_t renewed = 0;
    for (auto& [id, record] : rows_) {
      if (record.state != schema::State::kRunning || record.runner != runner) continue;
      record.claim_expires_unix_ms = expires_unix_ms;
      ++renewed;
    }
    return renewed;
  }

  Result<std::vector<store::Undispatched>> FindUndispatched(schema::Priority lane,
                                                            std::int64_t now_unix_ms,
                                                            std::int64_t before_unix_ms,
                                                            std::size_t limit) override {
    const std::lock_guard lock(mu_);
    std::vector<store::Undispatched> rows;
    for (const auto& [id, record] : rows_) {
      const bool expired =
          record.state == schema::State::kRunning && record.claim_expires_unix_ms <= now_unix_ms;
      if (record.state != schema::State::kQueued && !expired) continue;
      const std::int64_t dispatched = DispatchedAt(record);
      if (record.execution.priority == lane && dispatched < before_unix_ms) {
        rows.push_back({id, dispatched});
      }
    }
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return std::tie(a.dispatched_unix_ms, a.id) < std::tie(b.dispatched_unix_ms, b.id);
    });
    if (rows.size() > limit) rows.resize(limit);
    return rows;
  }
  Result<bool> NoteDispatch(const store::Undispatched& seen, std::int64_t now_unix_ms) override {
    const std::lock_guard lock(mu_);
    const auto row = rows_.find(seen.id);
    if (row == rows_.end() || schema::IsTerminal(row->second.state) ||
        DispatchedAt(row->second) != seen.dispatched_unix_ms) {
      return false;
    }
    dispatched_[seen.id] = now_unix_ms;
    return true;
  }
  Result<std::vector<store::ExecutionSummary>> ListChangedSince(const schema::OwnerId&,
                                                                const std::string&, std::int64_t,
                                                                std::size_t) override {
    return std::vector<store::ExecutionSummary>{};
  }

  Result<std::size_t> VoidClaims(const std::string& runner) override {
    const std::lock_guard lock(mu_);
    std::size_t voided = 0;
    for (auto& [id, record] : rows_) {
      if (record.state != schema::State::kRunning || record.runner != runner) continue;
      record.claim_expires_unix_ms = 0;
      ++voided;
    }
    return voided;
  }

  Result<Counts> CountUnfinished() override { return Counts{}; }
  Result<store::HistoryPage> ListHistory(const store::HistoryQuery&) override {
    return store::HistoryPage{};
  }
  Result<std::uint64_t> CountHistory(const store::HistoryQuery&, std::uint64_t) override {
    return std::uint64_t{0};
  }
  // Deletes nothing, and says that it did while `prunable` lasts.
  Result<std::size_t> Prune(const store::RetentionRule& rule, std::size_t limit) override {
    const std::lock_guard lock(mu_);
    ++prunes;
    last_rule = rule;
    if (away_ > 0) return Away();
    const std::size_t pruned = std::min(limit, prunable);
    prunable -= pruned;
    return pruned;
  }
  Result<void> Ping() override { return {}; }

  void HoldAsync() {
    const std::lock_guard lock(mu_);
    holding_ = true;
  }
  void LetGo() {
    std::deque<std::function<void()>> held;
    {
      const std::lock_guard lock(mu_);
      holding_ = false;
      held.swap(held_);
    }
    for (const auto& call : held) call();
  }
  std::size_t Held() {
    const std::lock_guard lock(mu_);
    return held_.size();
  }
  // Everything fails as unavailable until this many Finish() calls have failed.
  void GoAwayForFinishes(int count) {
    const std::lock_guard lock(mu_);
    away_ = count;
  }

  std::atomic<int> claims{0}, releases{0}, finishes{0}, results{0}, renewals{0}, prunes{0};
  std::size_t prunable = 0;             // set before it is shared
  store::RetentionRule last_rule;       // of Prune(); read once nobody prunes
  std::atomic<int> claims_in_doubt{0};  // so many are made, and nobody is told

 private:
  // mu_ is held.
  std::int64_t DispatchedAt(const Record& record) const {
    const auto noted = dispatched_.find(record.execution.id);
    return noted == dispatched_.end() ? record.execution.created_unix_ms : noted->second;
  }
  static tl::unexpected<Error> Away() {
    return Fail(ErrorCode::kUnavailable, "the database is away");
  }
  void Async(std::function<void()> call) {
    {
      const std::lock_guard lock(mu_);
      if (holding_) {
        held_.push_back(std::move(call));
        return;
      }
    }
    call();
  }

  std::mutex mu_;
  std::map<schema::ExecutionId, Record> rows_;
  std::map<schema::ExecutionId, std::int64_t> dispatched_;
  bool holding_ = false;
  std::deque<std::function<void()>> held_;
  int away_ = 0;
};

// Two lanes in deques; a dropped lease comes back at the head as a redelivery.
class FakeBroker final : public queue::Broker {
 public:
  void PublishAsync(queue::Message message, Done done) override {
    {
      const std::lock_guard lock(mu_);
      auto& lane = Lane(message.lane);
      if (lane.size() < limit) {
        lane.push_back({std::move(message), false});
        changed_.notify_all();
        done({});
        return;
      }
    }
    done(Fail(ErrorCode::kQueueFull, "full"));
  }

  Result<std::unique_ptr<queue::Lease>> Next(Deadline deadline, bool interactive_only) override {
    std::unique_lock lock(mu_);
    const auto ready = [&] {
      return closed_ || !interactive_.empty() || (!interactive_only && !background_.empty());
    };
    changed_.wait_until(lock, deadline, ready);
    if (closed_) return std::unique_ptr<queue::Lease>();
    auto* lane = !interactive_.empty()                         ? &interactive_
                 : (!interactive_only && !background_.empty()) ? &background_
                                                               : nullptr;
    if (lane == nullptr) return std::unique_ptr<queue::Lease>();
    Entry entry = std::move(lane->front());
    lane->pop_front();
    ++leased;
    return std::unique_ptr<queue::Lease>(new FakeLease(*this, std::move(entry)));
  }

  Result<queue::Depth> GetDepth(schema::Priority which) override {
    const std::lock_guard lock(mu_);
    return queue::Depth{.waiting = Lane(which).size(), .limit = limit};
  }
  void FreshDepth(schema::Priority lane, std::function<void(Result<queue::Depth>)> done) override {
    done(GetDepth(lane));
  }
  Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority which) override {
    const std::lock_guard lock(mu_);
    std::optional<std::int64_t> oldest;
    for (const Entry& entry : Lane(which)) {
      const std::int64_t at = entry.message.dispatched_unix_ms;
      if (!oldest || at < *oldest) oldest = at;
    }
    return oldest;
  }
  [[nodiscard]] const std::string& ReplyAddress() const override { return reply_address_; }
  Result<void> Status() override { return {}; }

  void Expect(const schema::ExecutionId& id, std::function<void(queue::Reply)> on_reply) override {
    const std::lock_guard lock(mu_);
    expected_[id] = std::move(on_reply);
  }
  void Forget(const schema::ExecutionId& id) override {
    const std::lock_guard lock(mu_);
    expected_.erase(id);
  }
  void SendReply(queue::Reply reply) override {
    std::function<void(queue::Reply)> on_reply;
    {
      const std::lock_guard lock(mu_);
      replies.push_back(reply);
      if (const auto found = expected_.find(reply.id); found != expected_.end()) {
        on_reply = std::move(found->second);
        expected_.erase(found);
      }
    }
    if (on_reply) on_reply(std::move(reply));
  }

  std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) override {
    const std::lock_guard lock(mu_);
    on_cancel_ =
        std::make_shared<std::function<void(const schema::ExecutionId&)>>(std::move(on_cancel));
    return on_cancel_;
  }
  Result<void> Cancel(const schema::ExecutionId& id) override {
    std::shared_ptr<std::function<void(const schema::ExecutionId&)>> call;
    {
      const std::lock_guard lock(mu_);
      call = on_cancel_;
    }
    if (call) (*call)(id);
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
    progress_.Expect(id, std::move(on_progress));
  }
  void ForgetProgress(const schema::ExecutionId& id) override { progress_.Forget(id); }
  void SendProgress(queue::Progress progress) override { progress_.Deliver(std::move(progress)); }

  void Close() override {
    const std::lock_guard lock(mu_);
    closed_ = true;
    changed_.notify_all();
  }

  std::size_t Waiting() {
    const std::lock_guard lock(mu_);
    return interactive_.size() + background_.size();
  }
  std::vector<queue::Reply> Replies() {
    const std::lock_guard lock(mu_);
    return replies;
  }

  std::atomic<int> acked{0}, returned{0}, leased{0};
  std::size_t limit = 1'000;

 private:
  const std::string reply_address_ = "runner-under-test";
  struct Entry {
    queue::Message message;
    bool redelivered = false;
  };
  class FakeLease final : public queue::Lease {
   public:
    FakeLease(FakeBroker& broker, Entry entry) : broker_(broker), entry_(std::move(entry)) {}
    ~FakeLease() override {
      if (acked_) return;
      const std::lock_guard lock(broker_.mu_);
      ++broker_.returned;
      entry_.redelivered = true;
      broker_.Lane(entry_.message.lane).push_front(std::move(entry_));
      broker_.changed_.notify_all();
    }
    const queue::Message& message() const override { return entry_.message; }
    bool redelivered() const override { return entry_.redelivered; }
    Result<void> Ack() override {
      acked_ = true;
      ++broker_.acked;
      return {};
    }

   private:
    FakeBroker& broker_;
    Entry entry_;
    bool acked_ = false;
  };

  std::deque<Entry>& Lane(schema::Priority lane) {
    return lane == schema::Priority::kInteractive ? interactive_ : background_;
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<Entry> interactive_, background_;
  std::map<schema::ExecutionId, std::function<void(queue::Reply)>> expected_;
  std::vector<queue::Reply> replies;
  std::shared_ptr<std::function<void(const schema::ExecutionId&)>> on_cancel_;
  bool closed_ = false;
  queue::WatchSubscriptions watches_;
  queue::ProgressDesk progress_;
};

// Runs nothing. The source's code says what happens: "exit N", "abort" (a signal),
// "compile_failed", "block" (until Cancel() or Unblock()), "stdin" (what its input says), anything
// else is echoed to stdout with exit code 0.
class FakeDriver final : public sandbox::Driver {
 public:
  Result<std::unique_ptr<sandbox::Sandbox>> Fork(const std::string& language,
                                                 const schema::Limits& /*limits*/) override {
    ++forks;
    if (language != "python") return Fail(ErrorCode::kInvalidArgument, "unknown language");
    if (fork_failures > 0) {
      --fork_failures;
      return Fail(ErrorCode::kUnavailable, "no fork today");
    }
    return std::unique_ptr<sandbox::Sandbox>(new FakeSandbox(*this));
  }
  std::vector<sandbox::LanguageStatus> Languages() const override { return {}; }
  sandbox::DriverStats Stats() const override { return {}; }
  std::vector<std::string> MissingProtections() const override { return {}; }

  void Unblock() {
    const std::lock_guard lock(mu_);
    unblocked_ = true;
    changed_.notify_all();
  }

  std::atomic<int> forks{0}, fork_failures{0}, running{0}, runs{0};

 private:
  class FakeSandbox final : public sandbox::Sandbox {
   public:
    explicit FakeSandbox(FakeDriver& driver) : driver_(driver) {}
    schema::Outcome Run(const schema::Source& source, const sandbox::EventSink&) override {
      ++driver_.running;
      ++driver_.runs;
      schema::Outcome outcome;
      outcome.reason = schema::Reason::kExited;
      outcome.exit_code = 0;
      const std::string& told = source.code == "stdin" ? source.stdin_data : source.code;
      if (told == "block") {
        std::unique_lock lock(driver_.mu_);
        driver_.changed_.wait(lock, [&] { return cancelled_ || driver_.unblocked_; });
        if (cancelled_) {
          outcome.reason = schema::Reason::kCancelled;
          outcome.exit_code.reset();
        }
      } else if (told == "abort") {
        outcome.reason = schema::Reason::kSignalled;
        outcome.exit_code.reset();
        outcome.signal = 6;
      } else if (told == "compile_failed") {
        outcome.reason = schema::Reason::kCompileFailed;
        outcome.exit_code = 1;
      } else if (told.starts_with("exit ")) {
        outcome.exit_code = std::stoi(told.substr(5));
      } else {
        outcome.stdout_text = told;
      }
      outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
      --driver_.running;
      return outcome;
    }
    void Cancel() override {
      const std::lock_guard lock(driver_.mu_);
      cancelled_ = true;
      driver_.changed_.notify_all();
    }

   private:
    FakeDriver& driver_;
    bool cancelled_ = false;
  };

  std::mutex mu_;
  std::condition_variable changed_;
  bool unblocked_ = false;
};

}  // namespace forkbox::runner::testing
