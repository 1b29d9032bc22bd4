// Box: a sandbox that stands for as long as its owner keeps it, and into which programs are started
// again and again: forks of the same warm templates that single runs use, with the same walls
// (namespaces, uid, cgroup, seccomp, own disk) around all of them together.
//
//   auto box = driver.OpenBox({.memory_bytes = 512 << 20});
//   auto process = (*box)->Start({.kind = BoxProgram::Kind::kCommand,
//                                 .command = {"/bin/bash", "-c", "echo hi"}});
//
// Nothing in it needs to live for it to stand: a program that kills all it can see, and even the
// processes through which we look inside, leaves a box into which the next one is started.
//
// Thread-safe. Must not outlive the driver that opened it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox {

// Start() puts a process into a box that is full of them, or nobody could be sent to end them; up
// to this many beyond BoxLimits::pids, and as many more as are being started at the moment.
inline constexpr std::uint32_t kPidsToGetIn = 64;

struct BoxLimits {
  std::uint64_t memory_bytes = 512ULL << 20;  // of all inside together, with swap and the disk
  std::uint64_t disk_bytes = 256ULL << 20;
  std::uint32_t pids = 256;      // processes and threads; nobody inside can fork beyond it
  std::uint32_t cpu_millis = 0;  // of a core, a thousand to each; 0: no more than a fair share
};

struct BoxProgram {
  enum class Kind {
    kCommand,  // `command`, by the plain template
    kSession,  // the interactive session of `language`, as its manifest says
    kAgent,    // what does the file operations of execd inside (runner/execd/agent)
  };
  Kind kind = Kind::kCommand;
  std::string language;              // kSession
  std::vector<std::string> command;  // kCommand: the whole argv; [0] an absolute path
  // On top of what every program gets and what the language's manifest says.
  std::vector<std::pair<std::string, std::string>> env;
  std::string cwd;       // absolute; "" for the work directory. Cannot be entered: exits with 126
  bool channel = false;  // kCommand: it has one, on descriptor 3
};

// A process in a box, from outside. It is the leader of a session and of a process group, both
// named by `pid`. Closing what is here does not end it: it may be told to (signals, Files) or see
// the end of its channel. Whatever comes out of these descriptors is a stranger's.
struct BoxProcess {
  // SOCK_SEQPACKET: one StatusMessage of kind kExited (protocol.h) at its end. The end of the
  // stream without one: what it was forked from is dead, or the forkserver, and nobody will say how
  // it ended; it may still be running.
  UniqueFd status;
  UniqueFd channel;      // SOCK_STREAM: the process's descriptor 3; kCommand gets none unless asked
  UniqueFd stdin_pipe;   // closing it is its end of file
  UniqueFd stdout_pipe;  // these are blocking, as they come
  UniqueFd stderr_pipe;
  pid_t pid = -1;  // as programs in the box see it
};

struct BoxUsage {
  std::uint64_t cpu_us = 0;        // since the box was opened
  std::uint64_t memory_bytes = 0;  // now; 0 where the host gives no such number
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t memory_limit_bytes = 0;
  std::uint64_t oom_kills = 0;
};

class Box {
 public:
  // Ends everything inside, and the place itself.
  virtual ~Box() = default;

  // kInvalidArgument: no such language, or one without sessions. kUnavailable: the language is not
  // ready, the box has ended, or there is no room: there or, "too many processes in the box", in it
  // (kPidsToGetIn). While frozen it waits for the thaw, up to 10 s.
  virtual Result<BoxProcess> Start(const BoxProgram& program) = 0;

  // Stops every process inside where it is; again and again is the same. kUnavailable where the
  // host gives no freezer.
  virtual Result<void> Freeze() = 0;
  virtual Result<void> Thaw() = 0;
  // Since Freeze() was called, until Thaw() is done.
  [[nodiscard]] virtual bool Frozen() const { return false; }

  // Ends everything inside now, as the destructor does; Start() fails from here on. What waits for
  // a process sees its end. Again and again is the same.
  virtual void End() = 0;

  [[nodiscard]] virtual BoxUsage Usage() const = 0;
  // False after End(), and once the place is gone: the forkserver ended, or its pid 1 was killed
  // from outside.
  [[nodiscard]] virtual bool Alive() const = 0;
};

}  // namespace forkbox::sandbox
