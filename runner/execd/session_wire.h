// What goes between us and an interactive session (a context's interpreter) over its channel.
//
// Frames: the length as 4 bytes, least significant first, then so many bytes of JSON in UTF-8; at
// most kMaxSessionFrameBytes either way, 100,000 JSON values, 64 deep. A session that breaks these
// rules is ended.
//
//   to the session      {"op":"run","code":"…"}
//                       {"op":"fork"}            with four descriptors (SCM_RIGHTS, unix(7)) on its
//                                                first byte: channel, stdin, stdout, stderr of the
//                                                copy. Only to sessions whose "ready" said "forks".
//   from the session    {"ev":"ready","pid":7,"forks":true}   once, first; of a copy as well, on
//                                                its own channel
//                       {"ev":"display","data":{"image/png":"…base64"}}    while it runs
//                       {"ev":"result","count":2,"data":{"text/plain":"4"}}
//                       {"ev":"error","ename":"…","evalue":"…","traceback":["…"]}
//                       {"ev":"done","count":2}  the cell is over, all of its output is written
//                       {"ev":"forked"} or {"ev":"fork_failed","message":"…"}
//
// Standard output and error are pipes of their own. SIGINT interrupts a running cell; idle it does
// nothing. End of file on the channel ends the session. Descriptor 3 is for the session alone: what
// a cell starts must not inherit it.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace forkbox::execd {

inline constexpr std::size_t kMaxSessionFrameBytes = 16U << 20;

// Sends a frame whole. kInvalidArgument: it is too large. kUnavailable when the session does not
// take it by the deadline or is gone.
Result<void> SendFrame(int channel, const nlohmann::json& message, Deadline deadline,
                       std::span<const int> descriptors = {});

// Gathers frames from what was read. One thread at a time.
class FrameReader {
 public:
  enum class Step { kFrame, kNeedMore, kBroken };
  void Append(std::string_view bytes);
  // kFrame: *message is an object. kBroken: for good.
  Step Next(nlohmann::json* message);

 private:
  std::string bytes_;
  std::size_t start_ = 0;  // what is before it has been handed out
  bool broken_ = false;
};

}  // namespace forkbox::execd
