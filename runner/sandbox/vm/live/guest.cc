#include "runner/sandbox/vm/live/guest.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr std::size_t kMaxReason = 4096;

bool ReadExactly(int socket, void* data, std::size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::read(socket, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

// By hand and not by agent_protocol.cc, which would bring the whole vocabulary of jobs into QEMU.
std::string AwaitGuest(int socket) {
  struct {
    std::uint32_t size = 0;  // of what follows it
    std::uint32_t kind = 0;
  } header;
  if (!ReadExactly(socket, &header, sizeof header)) return "the machine's agent went away";
  if (header.size < sizeof header.kind || header.size > kMaxReason) {
    return "the machine's agent said something else than that it is ready";
  }
  std::string body(header.size - sizeof header.kind, '\0');
  if (!ReadExactly(socket, body.data(), body.size())) return "the machine's agent went away";
  WireReader reader(body);
  if (header.kind == static_cast<std::uint32_t>(FrameKind::kReady)) {
    const std::uint32_t version = reader.U32();
    if (reader.AtEnd() && version == kAgentVersion) return {};
    return "the machine's agent has version " + std::to_string(version) + ", not " +
           std::to_string(kAgentVersion);
  }
  if (header.kind != static_cast<std::uint32_t>(FrameKind::kFailed)) {
    return "the machine's agent said something else than that it is ready";
  }
  std::string reason(reader.Text());
  std::ranges::replace(reason, '\n', ' ');
  return reason.empty() ? "the machine's agent failed" : reason;
}

}  // namespace forkbox::sandbox::vm
