// Boxes as the suites use them: programs in one, watched to their end.
#pragma once

#include <sys/wait.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runner/sandbox/box.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox::sandbox::testing {

// How a process ended and what it said until then.
struct Ended {
  std::optional<int> exit_code;
  std::optional<int> signal;
  bool lost = false;       // its status socket ended without a word
  bool timed_out = false;  // it was still running when we lost patience
  std::string out;
  std::string err;
};
std::string Describe(const Ended& ended);

BoxProgram Shell(const std::string& script);

// Reads the process's output until its status says that it has ended; what its children go on
// writing is not waited for.
Ended Finish(BoxProcess process, std::chrono::milliseconds patience = std::chrono::seconds(60));

// Starts and finishes. An Error of Start() is in `err`, and nothing else.
Ended RunIn(Box& box, const BoxProgram& program);
inline Ended RunIn(Box& box, const std::string& script) { return RunIn(box, Shell(script)); }

// Reads from the descriptor until `text` has come, "" otherwise; what came.
std::string ReadUntil(int fd, const std::string& text,
                      std::chrono::milliseconds patience = std::chrono::seconds(30));

// True as soon as `condition` is; false when it has not become so in time.
template <class Condition>
bool Eventually(Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace forkbox::sandbox::testing
