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
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "runner/execd/byte_budget.h"

namespace forkbox::execd {

inline constexpr std::size_t kMaxSessionFrameBytes = 16U << 20;

// Sends a frame whole. kInvalidArgument: it is too large. kUnavailable when the session does not
// take it by the deadline or is gone.
Result<void> SendFrame(int channel, const nlohmann::json& message, Deadline deadline,
                       std::span<const int> descriptors = {});

// Gathers frames from what was read. One thread at a time.
class FrameReader {
 public:
  // A larger frame breaks the rules, and this is all that bounds what is held.
  explicit FrameReader(std::size_t max_frame_bytes = kMaxSessionFrameBytes);
  // A frame that is not small is taken when both have room for it. Each has at least
  // kMaxSessionFrameBytes and outlives this. Whoever reads appends at most 64 KiB at a time.
  FrameReader(ByteBudget& of_box, ByteBudget& of_process);

  enum class Step { kFrame, kNeedMore, kBroken };
  void Append(std::string_view bytes);
  // kFrame: *message is an object. kBroken: for good.
  Step Next(nlohmann::json* message);

  // After kNeedMore: there is no room for the frame that has begun. Nothing is to be appended until
  // Next() has been asked again and this is no longer so.
  [[nodiscard]] bool WaitsForRoom() const { return waits_; }
  // Of a frame that room was taken for some bytes are here, and others are not.
  [[nodiscard]] bool HoldsPart() const { return has_room_ && !handed_out_; }
  // The frame handed out last is not needed any more; Next() means that too.
  void LetGo();

 private:
  struct Room {
    ByteBudget::Share of_box;
    ByteBudget::Share of_process;
  };
  bool TakeRoom(std::size_t size);

  std::size_t max_frame_bytes_;
  std::unique_ptr<Room> room_;  // none: it takes what comes
  bool waits_ = false;
  bool has_room_ = false;  // for the frame that has begun, or was handed out
  bool handed_out_ = false;
  std::string bytes_;
  std::size_t start_ = 0;  // what is before it has been handed out
  bool broken_ = false;
};

}  // namespace forkbox::execd
