// GroupCommit: one thread and one connection for all writes. Whatever was submitted while the last
// batch was in flight is the next batch: one transaction and one fsync for all of it. Alone, a
// write waits for nobody; under load the batches grow by themselves.
//
// Thread-safe. Writes take effect in the order of their submission. Not bounded: whoever submits
// bounds what he has in flight.
#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

class GroupCommit {
 public:
  GroupCommit(std::unique_ptr<Connection> connection, Log log);
  // Commits and answers everything that was submitted.
  ~GroupCommit();
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  // What a write says when its statements ran: an answer, which may well be an Error of its own
  // (no such row) and then takes nothing from the others. The outer Error is for a statement that
  // failed, which undoes the batch.
  template <class T>
  using Write = std::function<Result<Result<T>>(Connection&)>;

  // Runs `write` in some transaction and calls `done` on the writer's thread once that is as
  // durable as asked, or failed. When a batch is undone its writes run again one by one, so that a
  // bad one fails alone: `write` must not change anything but the database. It must not begin or
  // end transactions. `done` must not block, nor call Run().
  template <class T>
  void Submit(Durability durability, Write<T> write, std::function<void(Result<T>)> done) {
    Add(std::make_unique<WorkOf<T>>(durability, std::move(write), std::move(done)));
  }

  // The same, and waits. Not from `done`.
  template <class T>
  Result<T> Run(Durability durability, Write<T> write) {
    FORKBOX_CHECK(std::this_thread::get_id() != thread_.get_id());
    std::promise<Result<T>> answer;
    std::future<Result<T>> answered = answer.get_future();
    Submit<T>(durability, std::move(write),
              [&answer](Result<T> result) { answer.set_value(std::move(result)); });
    return answered.get();
  }

 private:
  class Work {
   public:
    explicit Work(Durability durability) : durability_(durability) {}
    virtual ~Work() = default;
    virtual Result<void> Apply(Connection& connection) = 0;
    virtual void Committed() = 0;  // after a successful Apply()
    virtual void Failed(const Error& error) = 0;
    [[nodiscard]] Durability durability() const { return durability_; }

   private:
    const Durability durability_;
  };

  template <class T>
  class WorkOf final : public Work {
   public:
    WorkOf(Durability durability, Write<T> write, std::function<void(Result<T>)> done)
        : Work(durability), write_(std::move(write)), done_(std::move(done)) {}

    Result<void> Apply(Connection& connection) override {
      Result<Result<T>> answer = write_(connection);
      if (!answer) return Fail(std::move(answer).error());
      answer_ = std::move(*answer);
      return {};
    }
    void Committed() override { done_(std::move(answer_)); }
    void Failed(const Error& error) override { done_(Fail(error)); }

   private:
    const Write<T> write_;
    const std::function<void(Result<T>)> done_;
    Result<T> answer_;
  };

  using Batch = std::vector<std::unique_ptr<Work>>;

  void Add(std::unique_ptr<Work> work);
  void Loop();
  void CommitBatch(Batch& batch);
  // All of `works` in one transaction, or none. Sets `begun` once it began.
  Result<void> Commit(std::span<const std::unique_ptr<Work>> works, bool& begun);
  void Settle(Work& work, const Result<void>& result);

  const std::unique_ptr<Connection> connection_;  // the writer thread's
  const Log log_;
  bool failing_ = false;  // the writer thread's: a failure is logged when it starts and ends

  std::mutex mutex_;
  std::condition_variable arrived_;
  Batch waiting_;         // guarded by mutex_
  bool closing_ = false;  // guarded by mutex_
  std::thread thread_;    // last: it uses all of the above
};

}  // namespace forkbox::store
