// Fakes of the store and the broker, for tests of this room: rows and waiters in maps, every delay
// and failure on command. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "queue/broker.h"
#include "schema/execution.h"
#include "store/execution_store.h"

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
                                     const std::optional<schema::OwnerId>& /*owner*/) override {
    if (away) return Away();
    const std::lock_guard lock(mutex_);
    const auto row = rows_.find(id);
    if (row == rows_.end()) return Fail(ErrorCode::kNotFound, "no row");
    return row->second;
  }
  Result<void> Ping() override {
    if (away) return Away();
    return {};
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
  Result<std::vector<schema::ExecutionId>> Unfinished(std::int64_t, std::size_t) override {
    return std::vector<schema::ExecutionId>{};
  }
  Result<std::size_t> VoidClaims(const std::string&) override { return std::size_t{0}; }
  Result<Counts> CountUnfinished() override { return Counts{}; }

 private:
  static tl::unexpected<Error> Away() { return Fail(ErrorCode::kUnavailable, "database is away"); }

  std::mutex mutex_;
  bool holding_ = false;
  std::vector<std::function<void()>> held_;
  std::map<schema::ExecutionId, store::ExecutionRecord> rows_;
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

  Result<void> Publish(queue::Message message) override {
    Runner runner;
    {
      const std::lock_guard lock(mutex_);
      if (refusal_) return Fail(*refusal_);
      published_.push_back(message);
      runner = runner_;
      changed_.notify_all();
    }
    if (runner) runner(*this, message);
    return {};
  }
  Result<queue::Depth> GetDepth(schema::Priority) override {
    const std::lock_guard lock(mutex_);
    return depth_;
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
  void Close() override {}

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Runner runner_;
  queue::Depth depth_;
  std::optional<Error> refusal_;
  std::vector<queue::Message> published_;
  std::vector<schema::ExecutionId> cancelled_;
  std::map<schema::ExecutionId, std::function<void(queue::Reply)>> expected_;
};

}  // namespace forkbox::api::testing
