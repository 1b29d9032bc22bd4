// OutputQueue: bytes and parts of files waiting for a non-blocking socket, in order.
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace forkbox::http {

class OutputQueue {
 public:
  enum class Progress {
    kDrained,  // all of it is with the kernel
    kBlocked,  // more to do once the socket is writable again
    kFailed,   // the peer is gone, or a file shrank: cut the connection
  };
  struct Flushed {
    Progress progress = Progress::kDrained;
    std::size_t bytes = 0;
  };

  void Append(std::string_view data);
  void AppendFile(UniqueFd file, std::uint64_t offset, std::uint64_t length);

  // Writes what the socket takes, at most a few megabytes, so that one fast reader cannot keep the
  // calling thread. Needs SIGPIPE ignored.
  Flushed Flush(int socket);

  void Clear() {
    parts_.clear();
    pending_bytes_ = 0;
    files_ = 0;
  }
  [[nodiscard]] bool empty() const { return parts_.empty(); }
  // What is held in memory; files are not.
  [[nodiscard]] std::size_t pending_bytes() const { return pending_bytes_; }
  // How many files are held open.
  [[nodiscard]] std::size_t files() const { return files_; }

 private:
  struct Part {
    std::string text;        // either this
    UniqueFd file;           // or that
    std::uint64_t done = 0;  // position in either
    std::uint64_t end = 0;   // of the file's part
  };
  std::deque<Part> parts_;  // none of them is finished
  std::size_t pending_bytes_ = 0;
  std::size_t files_ = 0;
};

}  // namespace forkbox::http
