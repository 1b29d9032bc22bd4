// One warm runtime, a child of the forkserver that is forked again and again (fork_loop.h). One
// that dies is started again after a pause that grows.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

struct WarmTemplate {
  static constexpr int kMaxFailures = 5;

  TemplateSpec spec;
  std::string variant;  // see kVariant
  pid_t pid = -1;
  UniqueFd control;  // SOCK_SEQPACKET
  UniqueFd errors;   // what it writes to stderr: the reason if it does not come up
  std::string said;
  bool ready = false;
  bool wanted = true;    // false: a lazy one that nobody has asked for yet, or one that was stopped
  bool stopped = false;  // to be started by no fork that is asked for
  int failures = 0;
  std::chrono::steady_clock::time_point restart_at{};

  [[nodiscard]] bool MayCome() const { return failures < kMaxFailures; }
  [[nodiscard]] bool IsToStart() const { return wanted && pid < 0 && MayCome(); }
  // What to start.
  [[nodiscard]] TemplateSpec Varied() const;
  // Ends the process, if there is one, and takes the last that it said. It is not ready then.
  void End();

  // Takes what it has written to stderr into `said`, of which the end is kept.
  void DrainErrors();
  // The last line says the most: an exception's text, a linker's complaint. Unless there was a
  // panic, of a machine's kernel for one, which is followed by the state of things.
  [[nodiscard]] std::string LastWords() const;
};

// The process of a template, and our ends of what it has.
struct StartedTemplate {
  pid_t pid = -1;
  UniqueFd control;
  UniqueFd errors;
};

// Starts the command, with a socket, a pipe and this as its kTemplateControlFd, stderr and
// kTemplateFilterFd. What fails later is said on stderr.
Result<StartedTemplate> SpawnTemplate(const TemplateSpec& spec, int filter_fd);

}  // namespace forkbox::sandbox
