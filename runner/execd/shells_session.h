// ShellSession: one persistent bash of a box, from outside: the process of
// runner/languages/bash/session.cc, started when it is needed and again when it was killed.
//
// Thread-safe; runs wait for each other.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/audience.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/ending.h"
#include "runner/execd/event.h"
#include "runner/execd/files.h"
#include "runner/execd/leftover_pipes.h"
#include "runner/execd/line_splitter.h"
#include "runner/execd/path_expansion.h"
#include "runner/execd/session_wire.h"
#include "runner/execd/shells.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class ShellSession {
 public:
  struct Surroundings {
    const Environment& env;
    sandbox::Box& box;
    Files& files;
    const Clock& clock;
    const Log& log;
    LeftoverPipes& leftovers;  // read what is printed between runs
    DescriptorBudget& budget;  // four each, as long as it is there
  };

  // `surroundings` must outlive it.
  ShellSession(std::string id, std::string cwd, const Surroundings& surroundings);
  ~ShellSession();
  ShellSession(const ShellSession&) = delete;
  ShellSession& operator=(const ShellSession&) = delete;

  // The process; a run starts it where there is none. kQueueFull, and kUnavailable.
  Result<void> Start();
  // As Shells::Run(). kUnavailable: it did not start.
  Result<void> Run(const Shells::RunRequest& request, EventSink& sink);
  // At once: what runs is going to be killed, and no other run begins.
  void Stop();
  // Stop(), and waits for it: a few seconds at the most, whatever the box does.
  void End();

 private:
  struct Done {
    Ending ending;
    bool fresh = false;  // its state was lost
  };

  bool AwaitTurn(Audience& listener);
  void LeaveTurn();
  bool Lives();
  Done Follow(const Shells::RunRequest& request, Audience& listener);
  std::optional<Done> ReadFrames();
  void TakeOutput(Audience& listener, bool at_end);
  void Abandon();

  const std::string id_;
  const std::string cwd_;
  const Surroundings around_;

  std::mutex mutex_;
  std::condition_variable turn_;
  bool busy_ = false;   // by mutex_: whose turn it is has all below
  bool ended_ = false;  // by mutex_
  UniqueFd stop_;       // eventfd(2), readable after Stop(); by mutex_ until it is there

  DescriptorBudget::Lease lease_;
  sandbox::BoxProcess process_;
  FrameReader frames_;
  LeftoverPipes::Id idle_ = 0;  // where its stdout is between runs
  LineSplitter lines_;
};

}  // namespace forkbox::execd
