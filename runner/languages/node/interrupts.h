// Interrupts: SIGINT for an interactive session, whatever its interpreter is busy with.
//
// The signal is taken by a thread, which first asks the event loop to handle it. If the loop does
// not come to it in a moment, JavaScript runs on the main thread: it is terminated where it is, all
// the way out to the loop, and the loop handles the interrupt then. The isolate lives on, with all
// that the program had made. The thread also ends the process when the peer of the session's
// channel is gone, which a busy loop would not see.
//
// One per process, started in a forked child (a template must have neither). Never destroyed.
#pragma once

#include <node.h>
#include <uv.h>

#include <condition_variable>
#include <mutex>

#include "base/result.h"

namespace forkbox::javascript {

class Interrupts {
 public:
  // `handler` is called without arguments, from the loop, once for all signals since the last time.
  static Result<void> Start(v8::Isolate* isolate, uv_loop_t* loop, int channel,
                            v8::Local<v8::Function> handler);

  // True from a signal until the handler is about to be called for it.
  static bool Pending();

  // Takes the signal again, should the program have given it another meaning.
  static void Arm();

 private:
  void Watch();
  void Deliver();
  void Handled();

  v8::Isolate* isolate_ = nullptr;
  int channel_ = -1;
  v8::Global<v8::Function> handler_;
  uv_async_t async_{};
  std::mutex mutex_;
  std::condition_variable handled_;
  bool pending_ = false;  // guarded by mutex_
};

}  // namespace forkbox::javascript
