// GroupCommit: one thread and one connection for all writes. Whatever was submitted while the last
// batch was in flight is the next batch: one transaction and one fsync for all of it. Alone, a
// write waits for nobody; under load the batches grow by themselves.
//
// Thread-safe. Writes take effect in the order of their submission. Not bounded: whoever submits
// bounds what he has in flight. Everything is answered in bounded time, if the Connection is.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
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

  // A parameter that the write owns.
  using Value = std::variant<std::int64_t, std::string>;

  // Moves where a braced list would copy: a request may be megabytes.
  template <class... V>
  static std::vector<Value> Values(V&&... values) {
    std::vector<Value> all;
    all.reserve(sizeof...(values));
    (all.emplace_back(std::forward<V>(values)), ...);
    return all;
  }

  // What the statement of a write brought.
  struct Ran {
    const Rows& rows;               // empty when there was no statement
    std::span<const Param> params;  // the statement's
    // It may have taken effect before: the connection was lost while a first try was committed. The
    // row it meets may then be its own.
    bool again = false;
    std::span<const Rows> then{};  // of Write::then
  };

  // A further statement of a write, sent with the first.
  struct Step {
    std::string_view sql;
    std::vector<Value> values;
  };

  // One statement, sent together with those of the others in the batch, and what to make of what it
  // brought, which may take further statements. `answer` says what `T` the caller gets, which may
  // well be an Error of its own (no such row) and then takes nothing from the others. Its outer
  // Error is for a statement that failed, which undoes the batch.
  // Of a `T` that may be void.
  template <class T>
  using Known = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  template <class T>
  struct Write {
    std::string_view sql;  // "" when the answer is known already, and only keeps its turn
    std::vector<Value> values;
    std::function<Result<Result<T>>(Connection&, const Ran&)> answer;
    // `answer` may write, and belongs to the transaction. Otherwise COMMIT need not wait for it,
    // and is sent with the statements if that is so for all of the batch.
    bool answer_writes = false;
    std::vector<Step> then{};
    // Of the transactions of any process that name the same, one runs at a time. "": no matter.
    std::string exclusive{};
    // Asked first when it runs again: whether it took effect, and then the answer.
    std::function<Result<std::optional<Known<T>>>(Connection&)> recognise{};
  };

  // Runs `write` in some transaction and calls `done` on the writer's thread once that is as
  // durable as asked, or failed. When a batch is undone, or nobody knows whether it was, its writes
  // run again one by one, so that a bad one fails alone: `answer` must not change anything but the
  // database, nor begin or end transactions. `done` must not block, nor call Run().
  // Errors of the database: kDeadlineExceeded when it may have taken effect.
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
    Work(Durability durability, std::vector<Step> steps, bool answer_writes, std::string exclusive);
    virtual ~Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    [[nodiscard]] Durability durability() const { return durability_; }
    [[nodiscard]] const std::vector<Statement>& statements() const { return statements_; }
    [[nodiscard]] bool answer_writes() const { return answer_writes_; }
    [[nodiscard]] const std::string& exclusive() const { return exclusive_; }
    // True: it took effect before, and has its answer.
    virtual Result<bool> Recognise(Connection& connection) = 0;
    // `rows`: what statements() brought.
    virtual Result<void> Answer(Connection& connection, std::span<const Rows> rows, bool again) = 0;
    virtual void Committed() = 0;  // after a successful Answer()
    virtual void Failed(const Error& error) = 0;

   private:
    const Durability durability_;
    const std::vector<Step> steps_;
    std::vector<std::vector<Param>> params_;  // of steps_
    std::vector<Statement> statements_;       // of both
    const bool answer_writes_;
    const std::string exclusive_;
  };

  template <class T>
  class WorkOf final : public Work {
   public:
    WorkOf(Durability durability, Write<T> write, std::function<void(Result<T>)> done)
        : Work(durability, Steps(write), write.answer_writes, std::move(write.exclusive)),
          write_answer_(std::move(write.answer)),
          recognise_(std::move(write.recognise)),
          done_(std::move(done)) {}

    Result<bool> Recognise(Connection& connection) override {
      if constexpr (!std::is_void_v<T>) {
        if (!recognise_) return false;
        Result<std::optional<T>> known = recognise_(connection);
        if (!known) return Fail(std::move(known).error());
        if (!*known) return false;
        answer_ = *std::move(*known);
        return true;
      } else {
        return false;
      }
    }
    Result<void> Answer(Connection& connection, std::span<const Rows> rows, bool again) override {
      static const Rows kNone;
      const bool none = rows.empty();
      Result<Result<T>> answer = none ? write_answer_(connection, {kNone, {}, again, {}})
                                      : write_answer_(connection, {rows[0], statements()[0].params,
                                                                   again, rows.subspan(1)});
      if (!answer) return Fail(std::move(answer).error());
      answer_ = std::move(*answer);
      return {};
    }
    void Committed() override { done_(std::move(answer_)); }
    void Failed(const Error& error) override { done_(Fail(error)); }

   private:
    static std::vector<Step> Steps(Write<T>& write) {
      std::vector<Step> steps;
      steps.reserve(1 + write.then.size());
      if (!write.sql.empty()) steps.push_back({write.sql, std::move(write.values)});
      std::move(write.then.begin(), write.then.end(), std::back_inserter(steps));
      return steps;
    }

    const std::function<Result<Result<T>>(Connection&, const Ran&)> write_answer_;
    const std::function<Result<std::optional<Known<T>>>(Connection&)> recognise_;
    const std::function<void(Result<T>)> done_;
    Result<T> answer_;
  };

  using Batch = std::vector<std::unique_ptr<Work>>;

  void Add(std::unique_ptr<Work> work);
  void Loop();
  void CommitBatch(Batch& batch);
  // All of `works` in one transaction, or none. Sets `begun` once it began.
  Result<void> Commit(std::span<const std::unique_ptr<Work>> works, bool again, bool& begun);
  // The same within the transaction that has begun.
  Result<void> ApplyAndCommit(std::span<const std::unique_ptr<Work>> works, bool again);
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
