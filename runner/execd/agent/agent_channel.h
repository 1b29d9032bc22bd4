// The agent's end of its channel (agent_wire.h). Blocking; one thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runner/execd/agent/agent_wire.h"

namespace forkbox::execd {

class AgentChannel {
 public:
  // The descriptor stays the caller's.
  explicit AgentChannel(int fd) : fd_(fd) {}

  // False at the end, and for a frame larger than any can be. Into *body, whose memory is used
  // again.
  bool Receive(FrameKind* kind, std::string* body);
  // False when nobody is left to hear it.
  bool Send(FrameKind kind, std::string_view body, std::span<const int> descriptors = {});
  // That nobody waits for what is being done any more.
  [[nodiscard]] bool PeerGone() const;
  // Reads on to the end, and throws it away.
  void Drain();

 private:
  bool ReadExactly(char* data, std::size_t size);

  int fd_;
};

}  // namespace forkbox::execd
