// Feed: bytes on their way into a sandbox, as fast as it takes them. One thread.
#pragma once

#include <cstddef>
#include <string>

#include "base/unique_fd.h"

namespace forkbox::sandbox {

class Feed {
 public:
  // A pipe or stream socket, which becomes non-blocking.
  Feed(UniqueFd fd, std::string bytes);

  [[nodiscard]] bool open() const { return fd_.valid(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Writes what there is room for. Closes the descriptor when all is written or nobody reads.
  void Pump();

 private:
  UniqueFd fd_;
  std::string bytes_;
  std::size_t at_ = 0;
};

}  // namespace forkbox::sandbox
