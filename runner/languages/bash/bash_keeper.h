// BashKeeper: an interactive session of bash, inside a box. It speaks session_wire.h with the
// outside and keeps one live bash whose variables, functions, options, traps, jobs and directory
// stay from run to run.
//
// Beside the live bash stands its spare: a copy (fork) that it has made of itself after the last
// run, stopped. A run that does not come to its end (`exit 7`, `exec`, `set -e`, SIGKILL) ends the
// live bash; then the spare goes on, as if the run had never been. See docs/decisions/shells.md.
//
// What the two write to us comes from a program that may do as it likes: a line that is not ours
// is passed over, and one that pretends hurts the session that it comes from. One thread.
//
// Beyond session_wire.h:
//   to the session      {"op":"run","code":"…","cwd":"/absolute"}    goes there first
//                       {"op":"kill"}   ends what runs, with all that it has started
//   from the session    {"ev":"done","count":2,"exit_code":3,"signal":0,"fresh":false}
//                       fresh: both had died, and a new bash stands there
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "runner/execd/session_wire.h"

namespace forkbox::languages {

class BashKeeper {
 public:
  explicit BashKeeper(int channel) : channel_(channel) {}

  // Until the channel is at its end; returns the exit code.
  int Run();

 private:
  bool Prepare();
  bool Spawn();
  void QueueSpare();
  bool ReadChannel();  // false: the end of it
  void TakeRequest(const nlohmann::json& message);
  void BeginRun(std::string code, const std::string& cwd);
  void FinishRun(int exit_code, int signal, bool fresh);
  void KillRun();
  void KillStrays();
  void LookForDeafness();
  void ReadReports();
  void TakeReport(std::string_view line);
  void Promote();
  void TakeSignals();
  bool Bury();  // false: bash cannot be kept alive
  bool ReplaceLive(int wait_status);
  void WriteCommands();
  void DropCommands();
  void Send(const nlohmann::json& message);

  const int channel_;
  execd::FrameReader frames_;
  UniqueFd signals_;       // signalfd(2): SIGCHLD and SIGINT
  UniqueFd commands_in_;   // what bash reads its script from; we only empty it
  UniqueFd commands_out_;  // non-blocking
  UniqueFd reports_in_;    // non-blocking
  UniqueFd reports_out_;   // bash's kReportFd
  std::string commands_;   // not yet written
  std::string reports_;    // a line that is not yet whole

  pid_t live_ = -1;
  pid_t spare_ = -1;      // stopped, in a process group of its own
  pid_t announced_ = -1;  // says that it will be the spare
  bool taking_over_ = false;
  int deaths_in_a_row_ = 0;  // of a bash that has never been ready
  bool running_ = false;
  bool killing_ = false;
  bool deaf_ = false;   // killed because it read commands and did none (`set -n`)
  int deaf_looks_ = 0;  // one after the other, at which that was so
  std::int64_t count_ = 0;
  std::vector<pid_t> earlier_;  // children of the live bash and ours when the run began
};

}  // namespace forkbox::languages
