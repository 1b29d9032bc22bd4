// OpenFiles: what a template has open, and what of it a copy must have anew.
//
// Files that are only read, and sockets of ours that are replaced, can be shared. A counter or a
// list by which threads wake each other (eventfd, epoll) cannot: one process would take what is
// another's. What is none of these is refused, since nobody has thought about it.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace forkbox::sandbox::vm {

class OpenFiles {
 public:
  // Looks at all descriptors of this process; those of ours are in `known`. "" or what cannot be
  // shared: "descriptor 17 is pipe:[4711]".
  std::string Examine(const int* known, std::size_t known_count);

  // In the child: replaces what must not be shared, at the same numbers. Allocates nothing. False
  // with errno set.
  [[nodiscard]] bool Renew() const;

 private:
  enum class Kind { kEventfd, kEpoll };
  struct Own {
    int fd = -1;
    Kind kind = Kind::kEventfd;
    bool close_on_exec = false;
    bool nonblocking = false;
  };
  static constexpr std::size_t kMaxOwn = 64;

  std::array<Own, kMaxOwn> own_{};
  std::size_t own_count_ = 0;
};

}  // namespace forkbox::sandbox::vm
