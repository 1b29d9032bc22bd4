// Commands: the shell commands of one box, in the foreground and the background (reference 4).
//
// Every record lives as long as the box, up to 1,000 finished ones with 8 MiB of commands: the
// oldest go first, with their output. Output of a background command is kept up to 16 MiB, the
// newest, and of all together up to 64 MiB, where the oldest commands' goes first; offsets go on
// counting.
//
// One that runs holds 3 descriptors, or 2 in the background, of the budget of its box; up to 64
// pipes of what commands have left behind are read beside it (leftover_pipes.h). kQueueFull beyond;
// kUnavailable where the host has no descriptor or thread left.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/event.h"
#include "runner/execd/files.h"
#include "runner/execd/path_expansion.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

struct CommandRequest {
  std::string command;                   // for `bash -c`, at most 128 KiB (kMaxCommandBytes); or
  std::vector<std::string> argv;         // started as it is; exactly one of the two; as long in all
  std::string cwd;                       // absolute and checked; "" for the work directory
  std::chrono::milliseconds timeout{0};  // 0: none
  std::optional<std::uint32_t> uid;      // only the box's own can be had: else it does not start
  std::optional<std::uint32_t> gid;
  Environment env;  // the box's, with the request's laid over
};

struct CommandStatus {
  std::string id;
  std::string content;  // the command as it was asked for
  bool running = false;
  std::optional<int> exit_code;  // -1 when a signal or the timeout ended it
  std::string error;             // "exit status 3"
  std::int64_t started_unix_ms = 0;
  std::int64_t finished_unix_ms = 0;
};

class Commands {
 public:
  // All must outlive it. `budget`: shared with whatever else runs in the box; null: one of its own.
  Commands(sandbox::Box& box, Files& files, const Clock& clock, Log log,
           DescriptorBudget* budget = nullptr);
  // Kills what runs and waits for the threads; a few seconds at the most, whatever the box does.
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // Runs to the end in the calling thread: kInit, lines as they come, a kPing every 3 s, and
  // exactly one of kExecutionComplete and kError. When nobody listens any more it runs on, unheard.
  // An Error only where nothing was put yet.
  Result<void> Run(const CommandRequest& request, EventSink& sink);
  // kInit and kExecutionComplete, at once; it runs on by itself. kQueueFull beyond 64 at a time.
  Result<void> RunInBackground(const CommandRequest& request, EventSink& sink);

  // SIGTERM to its process group, SIGKILL three seconds later; returns when it has ended.
  // kNotFound; kConflict when it is not running; kUnavailable when it has not ended for so long
  // (half a minute at the most) that the box must keep signals from it.
  Result<void> Interrupt(const std::string& id);

  [[nodiscard]] std::optional<CommandStatus> Status(const std::string& id) const;

  struct Logs {
    std::string bytes;
    std::uint64_t cursor = 0;  // where to go on
  };
  // Of a background command, from that offset (or the oldest byte kept, if that is later) to the
  // end, at most 1 MiB. kNotFound; kInvalidArgument for one that ran in the foreground.
  Result<Logs> ReadLogs(const std::string& id, std::uint64_t cursor) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::execd
