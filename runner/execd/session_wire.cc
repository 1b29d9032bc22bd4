#include "runner/execd/session_wire.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "schema/json.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kHeadBytes = 4;
constexpr std::size_t kMaxDescriptors = 8;
// What is read in between is kept where it is until this much of it has been used up.
constexpr std::size_t kCompactBytes = 256U << 10;
// A megabyte of numbers, the most of application/json that our own sessions send, and no more.
constexpr schema::JsonLimits kFrameLimits{64, 100'000, kMaxSessionFrameBytes};

std::size_t FrameBytes(const char* head) {
  std::size_t size = 0;
  for (std::size_t i = kHeadBytes; i-- > 0;) {
    size = size << 8 | static_cast<unsigned char>(head[i]);
  }
  return size;
}

bool WaitWritable(int channel, Deadline deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd poll_fd{channel, POLLOUT, 0};
    const auto patience = std::clamp<std::int64_t>(left.count(), 0, 60'000);
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(patience));
    if (ready > 0) return true;  // an error shows at the next write
    if (ready < 0 && errno != EINTR) return false;
    if (left.count() <= 0) return false;
  }
}

}  // namespace

Result<void> SendFrame(int channel, const nlohmann::json& message, Deadline deadline,
                       std::span<const int> descriptors) {
  const std::string body = schema::DumpJson(message);
  if (body.size() > kMaxSessionFrameBytes || descriptors.size() > kMaxDescriptors) {
    return Fail(ErrorCode::kInvalidArgument, "too large for an interpreter session");
  }
  std::string bytes;
  bytes.reserve(kHeadBytes + body.size());
  for (std::size_t i = 0; i < kHeadBytes; ++i) {
    bytes.push_back(static_cast<char>(body.size() >> (8 * i) & 0xff));
  }
  bytes += body;

  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    iovec part{bytes.data() + sent, bytes.size() - sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && !descriptors.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
      std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
    }
    const ssize_t written = ::sendmsg(channel, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written > 0) {
      sent += static_cast<std::size_t>(written);
    } else if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!WaitWritable(channel, deadline)) {
        return Fail(ErrorCode::kUnavailable, "the interpreter session takes nothing");
      }
    } else if (written < 0 && errno == EINTR) {
      continue;
    } else {
      return Fail(ErrorCode::kUnavailable, "the interpreter session has ended");
    }
  }
  return {};
}

FrameReader::FrameReader(std::size_t max_frame_bytes) : max_frame_bytes_(max_frame_bytes) {}

FrameReader::FrameReader(ByteBudget& of_box, ByteBudget& of_process)
    : max_frame_bytes_(kMaxSessionFrameBytes),
      room_(new Room{ByteBudget::Share(of_box), ByteBudget::Share(of_process)}) {}

bool FrameReader::TakeRoom(std::size_t size) {
  if (!room_) return true;
  if (!room_->of_box.Resize(size)) return false;
  if (room_->of_process.Resize(size)) return true;
  room_->of_box.Resize(0);
  return false;
}

void FrameReader::LetGo() {
  if (!handed_out_) return;
  handed_out_ = has_room_ = false;
  TakeRoom(0);
}

void FrameReader::Append(std::string_view bytes) {
  if (broken_) return;
  if (start_ == bytes_.size()) {
    bytes_.clear();
    start_ = 0;
  } else if (start_ > kCompactBytes) {
    bytes_.erase(0, start_);
    start_ = 0;
  }
  bytes_.append(bytes);
}

FrameReader::Step FrameReader::Next(nlohmann::json* message) {
  if (broken_) return Step::kBroken;
  LetGo();
  const std::size_t there = bytes_.size() - start_;
  if (there < kHeadBytes) return Step::kNeedMore;
  const std::size_t size = FrameBytes(bytes_.data() + start_);
  if (size > 0 && size <= max_frame_bytes_) {
    if (!has_room_) {
      waits_ = !TakeRoom(size);
      if (waits_) return Step::kNeedMore;
      has_room_ = room_ && size > ByteBudget::kAlwaysFree;
    }
    if (there - kHeadBytes < size) {
      if (has_room_) bytes_.reserve(start_ + kHeadBytes + size);  // and not twice as much
      return Step::kNeedMore;
    }
    auto parsed =
        schema::ParseJson(std::string_view(bytes_).substr(start_ + kHeadBytes, size), kFrameLimits);
    if (parsed && parsed->is_object()) {
      start_ += kHeadBytes + size;
      if (bytes_.capacity() > kCompactBytes) {
        bytes_ = std::string(bytes_, start_);  // one large frame is no reason to hold that much
        start_ = 0;
      }
      handed_out_ = true;
      *message = std::move(*parsed);
      return Step::kFrame;
    }
  }
  broken_ = true;
  bytes_ = std::string();
  start_ = 0;
  waits_ = false;
  handed_out_ = true;
  LetGo();
  return Step::kBroken;
}

}  // namespace forkbox::execd
