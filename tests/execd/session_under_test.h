// One interactive session in a box, talked to as Contexts does but without it: what a language's
// session program says, word by word.
#pragma once

#include <sys/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runner/execd/session_wire.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd::testing {

// What came of a cell.
struct CellOutcome {
  std::vector<std::string> order;  // of the events, without "done"
  nlohmann::json result;           // data of the last result or display; null for none
  std::string ename;
  std::string evalue;
  std::string traceback;  // its lines
  int count = 0;
  std::string out;
  std::string err;
  bool died = false;  // before "done"
};

class SessionUnderTest {
 public:
  // Ready when it returns.
  static Result<std::unique_ptr<SessionUnderTest>> Start(sandbox::Box& box,
                                                         const std::string& language);

  CellOutcome Run(const std::string& code);
  void Send(const std::string& code);
  // Of what was sent.
  CellOutcome Finish();
  // Returns when `text` has been printed by the cell that runs.
  bool WaitForOutput(const std::string& text);
  void Interrupt();
  // The wait status, once it has ended by itself; nothing if it does not.
  std::optional<int> Exit();
  void CloseChannel() { process_.channel.Reset(); }

  [[nodiscard]] const nlohmann::json& ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return process_.pid; }

 private:
  explicit SessionUnderTest(sandbox::Box& box) : box_(box) {}
  // A turn of reading; false when the channel has ended.
  bool Read(int timeout_ms);

  sandbox::Box& box_;
  sandbox::BoxProcess process_;
  FrameReader frames_;
  nlohmann::json ready_;
  std::string out_;
  std::string err_;
  bool ended_ = false;
};

// A program's standard output, run to its end in the box.
std::string OutputOf(sandbox::Box& box, const std::string& shell_command);

}  // namespace forkbox::execd::testing
