// Our end of one agent's channel (agent/agent_wire.h). What comes from it is a stranger's: frames
// are bounded, descriptors counted, and every wait has a deadline. Whoever gets an error here has
// no use for the link any more.
//
// One thread at a time.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/agent/agent_wire.h"

namespace forkbox::execd {

class AgentLink {
 public:
  // A stream socket; made non-blocking.
  explicit AgentLink(UniqueFd channel);

  // That it may be asked: it is there, and has not spoken without being asked.
  [[nodiscard]] bool Quiet() const;

  // Whole. kUnavailable: it is gone. kDeadlineExceeded. kConflict: it has something to say first.
  Result<void> Send(FrameKind kind, std::string_view body, Deadline deadline,
                    bool unless_it_speaks = false);

  struct Frame {
    FrameKind kind = FrameKind::kFailed;
    std::string body;
    UniqueFd descriptor;  // with kDone only
  };
  // kUnavailable: it is gone, or breaks the rules, of which one is that no frame is larger.
  // kDeadlineExceeded.
  Result<Frame> Receive(Deadline deadline, std::size_t max_bytes = kMaxShortReplyBytes);

  // Nothing goes either way from here on; what was said before can still be received.
  void Shut();

 private:
  Result<void> WaitFor(short events, Deadline deadline, short* seen) const;
  // Reads what is there.
  Result<void> Fill(Deadline deadline);

  UniqueFd channel_;
  std::string received_;
  std::size_t taken_ = 0;  // of received_
  UniqueFd descriptor_;
};

}  // namespace forkbox::execd
