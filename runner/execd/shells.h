// Shells: persistent bash sessions of one box (reference 5). A session is one live bash: variables,
// functions, aliases, options, directory and background jobs stay from run to run; `exit 7` ends
// the run with 7 and the session goes on as it was before that run.
//
// At most 32 sessions a box, each of which holds 4 descriptors of the box's budget. kUnavailable
// where the host has none left. A command has at most 2 MiB.
//
// Thread-safe; runs of one session wait for each other.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/event.h"
#include "runner/execd/files.h"
#include "runner/execd/path_expansion.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class Shells {
 public:
  // All must outlive it. `env` is the box's. `budget`: shared with whatever else runs in the box;
  // null: one of its own.
  Shells(Environment env, sandbox::Box& box, Files& files, const Clock& clock, Log log,
         DescriptorBudget* budget = nullptr);
  // Kills what runs; a few seconds at the most, whatever the box does.
  ~Shells();
  Shells(const Shells&) = delete;
  Shells& operator=(const Shells&) = delete;

  // `cwd` absolute, made if it is not there; "" for the work directory. Returns the id, a UUID.
  Result<std::string> Create(const std::string& cwd);

  struct RunRequest {
    std::string command;
    std::string cwd;                       // absolute and checked; sticks. "" stays where it is
    std::chrono::milliseconds timeout{0};  // 0: 24 h
  };
  // In the calling thread: kInit (text: the session's id), kPing every 3 s, lines of stdout with
  // stderr among them, then one of kExecutionComplete and kError. A timeout kills the whole process
  // group of the run and is told by the error (evalue "-1"); the session goes on. When nobody
  // listens any more the run is killed. kNotFound before anything was put.
  Result<void> Run(const std::string& id, const RunRequest& request, EventSink& sink);

  // Kills what runs and forgets the session. kNotFound.
  Result<void> Delete(const std::string& id);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::execd
