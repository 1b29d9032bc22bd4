// DaemonEnder: the thread on which Daemons go. Whoever used one last may be a thread of an HTTP
// server, and the end of a Daemon waits for its threads and talks to its box: that must not be
// where others are served.
//
// Thread-safe, but Start() and Stop().
#pragma once

#include <memory>

#include "base/result.h"
#include "runner/execd/daemon.h"

namespace forkbox::sandboxes {

class DaemonEnder {
 public:
  DaemonEnder();
  ~DaemonEnder();  // Stop()
  DaemonEnder(const DaemonEnder&) = delete;
  DaemonEnder& operator=(const DaemonEnder&) = delete;

  // kUnavailable: there are no more threads.
  Result<void> Start();
  // Ends all that wait. Without the thread each ends where it was used last.
  void Stop();

  // Wherever the last copy goes, the Daemon ends on the thread.
  std::shared_ptr<execd::Daemon> Own(std::unique_ptr<execd::Daemon> daemon);

  // Returns when all that were let go of until now have ended; helps to end them.
  void Flush();

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;  // with each Daemon that is owned
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace forkbox::sandboxes
