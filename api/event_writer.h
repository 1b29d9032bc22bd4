// EventWriter: the events of one execution, written to one client from wherever that client is.
//
//   id: r-6-0-1f…            event: state | stdout | stderr | compile | value | done
//   event: stdout            state:   {"state":"queued"}, "compiling", "running"; with "reset":true
//   data: {"text":"hello\n"}          what was said so far is void, and all of it comes anew
//                            stdout, stderr, compile: {"text":"…"}   value: {"value":…}
//                            done: the execution as GET /executions/{id} shows it; then the end
//
// One thread at a time. Never waits: what the client does not take stays to be told later.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "api/event_position.h"
#include "api/http/reply.h"
#include "base/clock.h"
#include "store/execution_store.h"

namespace forkbox::api {

// What is known of an execution now. Views of texts that only grow, unless Recheck() was called.
struct KnownEvents {
  std::string_view state;  // "queued", "compiling", "running"; "" is not known
  std::string_view stdout_text;
  std::string_view stderr_text;
  bool caught_up = false;  // there was no more when this was told
  // Set once it has ended; the texts are then its outcome's, and the document is its own.
  const store::ExecutionRecord* ended = nullptr;
  std::shared_ptr<const std::string> document = nullptr;  // shared by all who are told the same
};

class EventWriter {
 public:
  enum class Status {
    kWaits,     // told all there is
    kLags,      // the client has to take something first
    kGone,      // it has left
    kComplete,  // told everything: Reply::End() is due
  };

  // `reply` has been started.
  EventWriter(http::Reply reply, const EventPosition& from)
      : reply_(std::move(reply)), position_(from) {}

  Status Tell(const KnownEvents& known);
  // The texts are of another run from now on, or from another source.
  void Recheck() { checked_ = false; }
  // A comment, if nothing was written for so long.
  void KeepAlive(std::chrono::milliseconds silence);

  [[nodiscard]] http::Reply& reply() { return reply_; }

 private:
  bool Flush();                             // false: it lags, or is gone
  bool MakeNext(const KnownEvents& known);  // false: there is nothing to tell
  bool MakeText(std::string_view text, bool is_stderr);
  void MakeState(std::string_view word);
  void Make(std::string_view event, std::string_view data);

  http::Reply reply_;
  EventPosition position_;
  bool checked_ = false;  // that the texts begin with what was sent
  bool reset_ = false;    // to be said with the next state
  bool gone_ = false;
  bool complete_ = false;
  std::string outbox_;
  std::size_t written_ = 0;                      // of it
  std::shared_ptr<const std::string> document_;  // follows the outbox
  std::size_t document_written_ = 0;
  SteadyTime wrote_at_ = std::chrono::steady_clock::now();
};

}  // namespace forkbox::api
