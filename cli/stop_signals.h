// StopSignals: SIGTERM and SIGINT as something to wait for.
//
// By handlers and a pipe, not by blocking the signals: a mask would be inherited by every program
// that is ever started from here. One at a time in a process; one thread waits.
#pragma once

#include <chrono>

#include "base/result.h"

namespace forkbox::cli {

class StopSignals {
 public:
  static Result<StopSignals> Install();
  StopSignals(StopSignals&& other) noexcept;
  ~StopSignals();  // default handling again

  // True when a signal came since the last that was waited for; false at the timeout. A negative
  // timeout waits for ever.
  bool Wait(std::chrono::milliseconds timeout);

 private:
  StopSignals() = default;
  bool installed_ = false;
};

}  // namespace forkbox::cli
