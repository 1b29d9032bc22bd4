#include "store/group_commit.h"

#include <algorithm>

namespace forkbox::store {
namespace {

// Keeps one transaction, and so the wait of the first in it, within some milliseconds.
constexpr std::size_t kMaxBatch = 512;

}  // namespace

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
  const Result<void> together = Commit(batch, begun);
  // Without a transaction at all (the database is away, or locked) each alone would fail as well,
  // and perhaps wait as long.
  if (together || !begun || batch.size() == 1) {
    for (const auto& work : batch) Settle(*work, together);
    return;
  }
  for (const auto& work : batch) Settle(*work, Commit(std::span(&work, 1), begun));
}

Result<void> GroupCommit::Commit(std::span<const std::unique_ptr<Work>> works, bool& begun) {
  const bool durable = std::any_of(works.begin(), works.end(), [](const auto& work) {
    return work->durability() == Durability::kPowerCut;
  });
  Result<void> result =
      connection_->Begin(durable ? Durability::kPowerCut : Durability::kProcessCrash);
  begun = result.has_value();
  for (std::size_t i = 0; result && i < works.size(); ++i) {
    result = works[i]->Apply(*connection_);
  }
  if (result) result = connection_->Commit();
  if (!result) connection_->Rollback();
  return result;
}

void GroupCommit::Settle(Work& work, const Result<void>& result) {
  if (result) {
    if (std::exchange(failing_, false)) log_.Info("store.recovered");
    work.Committed();
    return;
  }
  const Error& error = result.error();
  const bool ours = error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kInternal;
  if (ours && !std::exchange(failing_, true)) {
    log_.Error("store.write_failed", {{"code", ToString(error.code)}, {"message", error.message}});
  }
  work.Failed(error);
}

}  // namespace forkbox::store
