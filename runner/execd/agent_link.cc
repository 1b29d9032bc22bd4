#include "runner/execd/agent_link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "runner/sandbox/wire.h"

namespace forkbox::execd {
namespace {

tl::unexpected<Error> Gone() {
  return Fail(ErrorCode::kUnavailable, "the process inside the sandbox has ended");
}

tl::unexpected<Error> Broken() {
  return Fail(ErrorCode::kUnavailable, "the process inside the sandbox breaks the rules");
}

int MillisUntil(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
}

}  // namespace

AgentLink::AgentLink(UniqueFd channel) : channel_(std::move(channel)) {
  const int flags = ::fcntl(channel_.get(), F_GETFL);
  ::fcntl(channel_.get(), F_SETFL, flags | O_NONBLOCK);
}

bool AgentLink::Quiet() const {
  pollfd polled{channel_.get(), POLLIN | POLLRDHUP, 0};
  return received_.size() == taken_ && !descriptor_ && ::poll(&polled, 1, 0) == 0;
}

Result<void> AgentLink::WaitFor(short events, Deadline deadline, short* seen) const {
  for (;;) {
    pollfd polled{channel_.get(), events, 0};
    const int ready = ::poll(&polled, 1, MillisUntil(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return FailErrno("poll");
    if (ready == 0) {
      return Fail(ErrorCode::kDeadlineExceeded,
                  "the process inside the sandbox does not answer in time");
    }
    *seen = polled.revents;
    return {};
  }
}

Result<void> AgentLink::Send(FrameKind kind, std::string_view body, Deadline deadline,
                             bool unless_it_speaks) {
  FrameHeader header{static_cast<std::uint32_t>(kind), static_cast<std::uint32_t>(body.size())};
  std::string_view head(reinterpret_cast<const char*>(&header), sizeof header);
  const short also = unless_it_speaks ? POLLIN : short{0};
  while (!head.empty() || !body.empty()) {
    std::array<iovec, 2> parts{{{const_cast<char*>(head.data()), head.size()},
                                {const_cast<char*>(body.data()), body.size()}}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t n = ::sendmsg(channel_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
      // Perhaps it has said why before it went.
      return unless_it_speaks ? Fail(ErrorCode::kConflict, "it has gone") : Gone();
    }
    if (n < 0) {
      short seen = 0;
      if (auto waited = WaitFor(static_cast<short>(POLLOUT | also), deadline, &seen); !waited) {
        return waited;
      }
      if ((seen & also) != 0) return Fail(ErrorCode::kConflict, "it has something to say");
      continue;
    }
    const std::size_t of_head = std::min(head.size(), static_cast<std::size_t>(n));
    head.remove_prefix(of_head);
    body.remove_prefix(static_cast<std::size_t>(n) - of_head);
  }
  return {};
}

Result<void> AgentLink::Fill(Deadline deadline) {
  std::array<char, 64 << 10> buffer;
  std::array<int, sandbox::kMaxPacketFds> descriptors{};
  for (;;) {
    std::size_t count = descriptors.size();
    const ssize_t n = sandbox::RecvPacket(channel_.get(), buffer.data(), buffer.size(),
                                          descriptors.data(), &count);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      short seen = 0;
      if (auto waited = WaitFor(POLLIN, deadline, &seen); !waited) return waited;
      continue;
    }
    if (n < 0 && errno == EMSGSIZE) return Broken();
    if (n <= 0) return Gone();
    const bool too_many = count > 1 || (count == 1 && descriptor_.valid());
    for (std::size_t i = 0; i < count; ++i) {
      if (too_many) {
        ::close(descriptors[i]);
      } else {
        descriptor_.Reset(descriptors[i]);
      }
    }
    if (too_many) return Broken();
    received_.append(buffer.data(), static_cast<std::size_t>(n));
    return {};
  }
}

Result<AgentLink::Frame> AgentLink::Receive(Deadline deadline, std::size_t max_bytes) {
  FrameHeader header;
  const auto need = [&](std::size_t size) -> Result<void> {
    while (received_.size() - taken_ < size) {
      // A slow drip ends at the deadline as well as silence does.
      if (std::chrono::steady_clock::now() > deadline) {
        return Fail(ErrorCode::kDeadlineExceeded,
                    "the process inside the sandbox does not answer in time");
      }
      if (auto filled = Fill(deadline); !filled) return filled;
    }
    return {};
  };
  if (auto got = need(sizeof header); !got) return Fail(got.error());
  std::memcpy(&header, received_.data() + taken_, sizeof header);
  if (header.size > max_bytes || header.kind < static_cast<std::uint32_t>(FrameKind::kBegun) ||
      header.kind > static_cast<std::uint32_t>(FrameKind::kFailed)) {
    return Broken();
  }
  if (auto got = need(sizeof header + header.size); !got) return Fail(got.error());
  Frame frame;
  frame.kind = static_cast<FrameKind>(header.kind);
  frame.body = received_.substr(taken_ + sizeof header, header.size);
  taken_ += sizeof header + header.size;
  if (taken_ == received_.size()) {
    received_.clear();
    taken_ = 0;
  } else if (taken_ > kMaxReplyBytes) {
    received_.erase(0, taken_);
    taken_ = 0;
  }
  // Whatever it came with, it is for the end of the answer; only there it is looked at.
  if (frame.kind == FrameKind::kDone) frame.descriptor = std::move(descriptor_);
  if (frame.kind == FrameKind::kFailed && descriptor_.valid()) return Broken();
  return frame;
}

void AgentLink::Shut() { ::shutdown(channel_.get(), SHUT_RDWR); }

}  // namespace forkbox::execd
