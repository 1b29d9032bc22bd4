#include "store/group_commit.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/clock.h"

namespace forkbox::store {
namespace {

// Keeps one transaction, and so the wait of the first in it, within some milliseconds.
constexpr std::size_t kMaxBatch = 512;

// How long the writes of a batch that failed are tried one by one.
constexpr std::chrono::seconds kLongestRepeat{5};

// Not the fault of the write: a lost connection, a deadlock with another process.
bool IsPassing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
}

}  // namespace

GroupCommit::Work::Work(Durability durability, std::vector<Step> steps, bool answer_writes,
                        std::string exclusive)
    : durability_(durability),
      steps_(std::move(steps)),
      answer_writes_(answer_writes),
      exclusive_(std::move(exclusive)) {
  params_.reserve(steps_.size());
  statements_.reserve(steps_.size());
  for (const Step& step : steps_) {
    std::vector<Param>& params = params_.emplace_back();
    params.reserve(step.values.size());
    for (const Value& value : step.values) {
      if (const auto* number = std::get_if<std::int64_t>(&value)) {
        params.emplace_back(*number);
      } else {
        params.emplace_back(std::string_view(std::get<std::string>(value)));
      }
    }
    statements_.push_back({step.sql, params});
  }
}

GroupCommit::GroupCommit(std::unique_ptr<Connection> connection, Log log)
    : connection_(std::move(connection)), log_(std::move(log)) {
  thread_ = std::thread([this] { Loop(); });
}

GroupCommit::~GroupCommit() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  arrived_.notify_one();
  thread_.join();
}

void GroupCommit::Add(std::unique_ptr<Work> work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  arrived_.notify_one();
}

void GroupCommit::Loop() {
  Batch batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return !waiting_.empty() || closing_; });
      if (waiting_.empty()) return;
      if (waiting_.size() <= kMaxBatch) {
        batch.swap(waiting_);
      } else {
        const auto end = waiting_.begin() + kMaxBatch;
        std::move(waiting_.begin(), end, std::back_inserter(batch));
        waiting_.erase(waiting_.begin(), end);
      }
    }
    CommitBatch(batch);
    batch.clear();
  }
}

void GroupCommit::CommitBatch(Batch& batch) {
  bool begun = false;
  const Result<void> together = Commit(batch, false, begun);
  // Without a transaction at all (the database is away, or locked) each alone would fail as well,
  // and perhaps wait as long.
  const bool hopeless =
      !together && (!begun || (batch.size() == 1 && !IsPassing(together.error())));
  if (together || hopeless) {
    for (const auto& work : batch) Settle(*work, together);
    return;
  }
  // Perhaps all of it was kept. To run it again is harmless, since all writes are conditional, and
  // each is told that it may meet itself. What fails now remains unknown.
  const bool in_doubt = together.error().code == ErrorCode::kDeadlineExceeded;
  const SteadyTime give_up = std::chrono::steady_clock::now() + kLongestRepeat;
  Result<void> alone;
  for (const auto& work : batch) {
    // A database that takes long to say no is not asked hundreds of times.
    const bool away = !alone && IsPassing(alone.error());
    if (!away || std::chrono::steady_clock::now() < give_up) {
      alone = Commit(std::span(&work, 1), in_doubt, begun);
      if (!alone && in_doubt) {
        alone = Fail(ErrorCode::kDeadlineExceeded, std::move(alone).error().message);
      }
    }
    Settle(*work, alone);
  }
}

Result<void> GroupCommit::Commit(std::span<const std::unique_ptr<Work>> works, bool again,
                                 bool& begun) {
  const bool durable = std::any_of(works.begin(), works.end(), [](const auto& work) {
    return work->durability() == Durability::kPowerCut;
  });
  Result<void> result =
      connection_->Begin(durable ? Durability::kPowerCut : Durability::kProcessCrash);
  begun = result.has_value();
  if (result) result = ApplyAndCommit(works, again);
  if (!result) connection_->Rollback();
  return result;
}

Result<void> GroupCommit::ApplyAndCommit(std::span<const std::unique_ptr<Work>> works, bool again) {
  if (again) {
    FORKBOX_CHECK(works.size() == 1);
    const Result<bool> known = works[0]->Recognise(*connection_);
    if (!known) return Fail(known.error());
    if (*known) return connection_->Commit();
  }
  // Before any row is locked, and in one order everywhere: so nobody waits for whom he holds up.
  std::set<std::string_view> names;
  std::vector<Statement> statements;
  bool answers_write = false;
  for (const auto& work : works) {
    if (!work->exclusive().empty()) names.insert(work->exclusive());
    answers_write = answers_write || work->answer_writes();
  }
  if (connection_->exclude_others().empty()) names.clear();
  const std::vector<Param> excluded(names.begin(), names.end());
  for (const Param& name : excluded) {
    statements.push_back({connection_->exclude_others(), std::span(&name, 1)});
  }
  for (const auto& work : works) {
    statements.insert(statements.end(), work->statements().begin(), work->statements().end());
  }
  const Result<std::vector<Rows>> ran = answers_write
                                            ? connection_->ExecuteAll(statements)
                                            : connection_->ExecuteAllAndCommit(statements);
  if (!ran) return Fail(ran.error());
  std::span<const Rows> left = std::span(*ran).subspan(excluded.size());
  for (const auto& work : works) {
    const std::size_t count = work->statements().size();
    Result<void> answered = work->Answer(*connection_, left.first(count), again);
    left = left.subspan(count);
    if (answered) continue;
    if (answers_write) return answered;
    return Fail(ErrorCode::kDeadlineExceeded, std::move(answered).error().message);  // it is kept
  }
  return answers_write ? connection_->Commit() : Result<void>();
}

void GroupCommit::Settle(Work& work, const Result<void>& result) {
  if (result) {
    if (std::exchange(failing_, false)) log_.Info("store.recovered");
    work.Committed();
    return;
  }
  const Error& error = result.error();
  const bool ours = IsPassing(error) || error.code == ErrorCode::kInternal;
  if (ours && !std::exchange(failing_, true)) {
    log_.Error("store.write_failed", {{"code", ToString(error.code)}, {"message", error.message}});
  }
  work.Failed(error);
}

}  // namespace forkbox::store
