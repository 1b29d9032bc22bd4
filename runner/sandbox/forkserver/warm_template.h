// One warm runtime, a child of the forkserver that is forked again and again (fork_loop.h). One
// that dies is started again after a pause that grows.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

struct WarmTemplate {
  TemplateSpec spec;
  pid_t pid = -1;
  UniqueFd control;  // SOCK_SEQPACKET
  UniqueFd errors;   // what it writes to stderr: the reason if it does not come up
  std::string said;
  bool ready = false;
  bool wanted = true;  // false: a lazy one that nobody has asked for yet
  int failures = 0;
  std::chrono::steady_clock::time_point restart_at{};

  // Takes what it has written to stderr into `said`, of which the end is kept.
  void DrainErrors();
  // The last line says the most: an exception's text, a linker's complaint.
  [[nodiscard]] std::string LastWords() const;
};

// Starts the command, with these as its kTemplateControlFd, stderr and kTemplateFilterFd. -1 with
// errno set when it could not be forked; what fails later is said on stderr.
pid_t SpawnTemplate(const TemplateSpec& spec, int control_fd, int errors_fd, int filter_fd);

}  // namespace forkbox::sandbox
