// What a command, a shell run or a cell of code says while it runs, in OpenSandbox's terms, and the
// sink that takes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace forkbox::execd {

struct Event {
  enum class Type {
    kInit,               // text: the id to interrupt by; always first, once
    kStatus,             // text "error", right before the kError of a cell of code
    kError,              // ename, evalue, traceback
    kStdout,             // text: a line without its end (commands) or a piece as it came (code)
    kStderr,             // likewise
    kResult,             // results: MIME type → value, "text/plain" called "text"
    kExecutionComplete,  // execution_time
    kExecutionCount,     // execution_count
    kPing,               // text "pong"
  };
  Type type = Type::kInit;
  std::string text;  // any bytes
  std::int64_t execution_count = 0;
  std::chrono::milliseconds execution_time{0};
  nlohmann::json results;
  std::string ename;
  std::string evalue;
  std::vector<std::string> traceback;
};

// Takes the events of one run, in order, from one thread at a time.
class EventSink {
 public:
  virtual ~EventSink() = default;

  // May block while the reader is slow, and so makes the program wait; not for ever: whoever takes
  // nothing for long has gone. False: nobody listens any more. What then becomes of the run is the
  // caller's rule; further calls do nothing.
  virtual bool Put(const Event& event) = 0;
};

}  // namespace forkbox::execd
