// ProgressBoard: tells whoever watches an execution how far it is while it runs here.
//
//   auto run = board.Begin(id);         // somebody may be watching already
//   sandbox.Run(source, [&](const Event& event) { run->On(event); });
//   board.End(id, /*finished=*/true);   // its row is terminal: who watches may look
//
// A run that nobody watches costs a copy of what it prints, so that whoever comes later can be told
// from the start. Of a watched one, the first words leave at once and what follows within
// `interval`, in one message: a program that prints single bytes makes no more messages than that.
//
// Thread-safe. Broker::SendProgress() is called with the lock of a run held: what it calls must not
// come back to this run.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "queue/broker.h"
#include "runner/text_stream.h"

namespace forkbox::runner {

class ProgressBoard {
 public:
  struct Options {
    std::chrono::milliseconds interval{8};
    std::chrono::milliseconds watch_life = queue::kWatchLife;
    std::size_t max_watchers = 16;  // of one execution: API processes, not clients
    // Watches of executions that are not here, yet or at all.
    std::size_t max_waiting = 4'096;
  };

  class Run;

  ProgressBoard(Options options, queue::Broker& broker);
  ~ProgressBoard();  // every run has ended
  ProgressBoard(const ProgressBoard&) = delete;
  ProgressBoard& operator=(const ProgressBoard&) = delete;

  // At most one at a time of each id.
  std::shared_ptr<Run> Begin(const schema::ExecutionId& id);
  // What the run said is forgotten. With `finished`, who watches hears that its row is terminal.
  void End(const schema::ExecutionId& id, bool finished);

  // Watches that wait for their execution; for tests.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Waiting {
    std::vector<queue::Watch> watches;  // of different addresses
    SteadyTime until;
  };

  void OnWatch(const queue::Watch& watch);
  void Remember(const queue::Watch& watch, SteadyTime now);  // mutex_ is held
  void FlushAt(SteadyTime when, std::weak_ptr<Run> run);
  void FlushLoop(const std::stop_token& stop);

  const Options options_;
  queue::Broker& broker_;

  mutable std::mutex mutex_;
  std::unordered_map<schema::ExecutionId, std::shared_ptr<Run>> runs_;
  std::unordered_map<schema::ExecutionId, Waiting> waiting_;
  std::deque<schema::ExecutionId> waiting_order_;  // may name some that are gone

  std::mutex due_mutex_;  // taken with that of a run held
  std::condition_variable_any due_changed_;
  std::multimap<SteadyTime, std::weak_ptr<Run>> due_;

  std::shared_ptr<void> subscription_;
  std::jthread flusher_;  // last: it uses all of the above
};

// One run; shared by its slot, the board and its thread. Thread-safe.
class ProgressBoard::Run : public std::enable_shared_from_this<Run> {
 public:
  Run(ProgressBoard& board, schema::ExecutionId id);

  // What the sandbox emits, as it does.
  void On(const schema::Event& event);
  void Watched(const queue::Watch& watch);
  void Flush();
  void Finish();

 private:
  struct Watcher {
    std::string to;
    std::uint64_t stdout_at = 0;  // what he has been sent
    std::uint64_t stderr_at = 0;
    SteadyTime until;
  };
  // What was printed since the last flush, in order.
  struct Segment {
    bool is_stderr = false;
    std::uint64_t bytes = 0;
  };

  // With mutex_ held.
  void Advance();
  void SendAll(SteadyTime now);
  void SendTo(Watcher& watcher, bool finished);

  ProgressBoard& board_;
  const schema::ExecutionId id_;

  std::mutex mutex_;
  std::string token_;  // made for the first watcher: most runs have none
  TextStream stdout_;
  TextStream stderr_;
  std::string state_;
  std::vector<Watcher> watchers_;
  std::vector<Segment> fresh_;
  std::uint64_t flushed_stdout_ = 0;
  std::uint64_t flushed_stderr_ = 0;
  SteadyTime flushed_at_ = SteadyTime::min();
  bool flush_is_due_ = false;
};

}  // namespace forkbox::runner
