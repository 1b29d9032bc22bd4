#include "api/http/output_queue.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace forkbox::http {
namespace {

constexpr std::size_t kMaxBytesPerFlush = 4U << 20;
constexpr std::size_t kMaxBytesPerSendfile = 1U << 20;
// Sent bytes at the front of a part that is still growing are dropped from here on.
constexpr std::size_t kCompactBytes = 1U << 20;

}  // namespace

void OutputQueue::Append(std::string_view data) {
  if (data.empty()) return;
  if (parts_.empty() || parts_.back().file.valid()) parts_.emplace_back();
  parts_.back().text.append(data);
  pending_bytes_ += data.size();
}

void OutputQueue::AppendFile(UniqueFd file, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  Part part;
  part.file = std::move(file);
  part.done = offset;
  part.end = offset + length;
  parts_.push_back(std::move(part));
  ++files_;
}

OutputQueue::Flushed OutputQueue::Flush(int socket) {
  Flushed flushed;
  while (!parts_.empty()) {
    if (flushed.bytes >= kMaxBytesPerFlush) {
      flushed.progress = Progress::kBlocked;
      return flushed;
    }
    Part& part = parts_.front();
    ssize_t sent = 0;
    if (part.file.valid()) {
      auto offset = static_cast<off_t>(part.done);
      sent = ::sendfile(socket, part.file.get(), &offset,
                        static_cast<std::size_t>(
                            std::min<std::uint64_t>(part.end - part.done, kMaxBytesPerSendfile)));
    } else {
      sent = ::send(socket, part.text.data() + part.done, part.text.size() - part.done,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!part.file.valid() && part.done > kCompactBytes) {
        part.text.erase(0, part.done);
        part.done = 0;
      }
      flushed.progress = Progress::kBlocked;
      return flushed;
    }
    if (sent <= 0) {  // 0: sendfile at the end of a file that was longer before
      flushed.progress = Progress::kFailed;
      return flushed;
    }
    const auto bytes = static_cast<std::size_t>(sent);
    part.done += bytes;
    flushed.bytes += bytes;
    if (part.file.valid()) {
      if (part.done < part.end) continue;
      --files_;
    } else {
      pending_bytes_ -= bytes;
      if (part.done < part.text.size()) continue;
    }
    parts_.pop_front();
  }
  return flushed;
}

}  // namespace forkbox::http
