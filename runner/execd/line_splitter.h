// LineSplitter: output as it comes, cut into the lines that OpenSandbox's clients are told
// (reference 4.4): "\n", "\r" and "\r\n" end a line, the last also when it comes in two pieces; an
// empty line is told as "\n"; what is not ended waits for Finish().
//
// One thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace forkbox::execd {

// A longer line is told in pieces of this size: a program must not fill our memory by printing no
// line's end.
inline constexpr std::size_t kMaxLineBytes = 1U << 20;

class LineSplitter {
 public:
  using Sink = std::function<void(std::string line)>;

  void Feed(std::string_view bytes, const Sink& sink);
  void Finish(const Sink& sink);

 private:
  void Hold(std::string_view bytes, const Sink& sink);

  std::string held_;
  bool after_return_ = false;  // a "\n" that comes now belongs to the "\r" before
  bool cut_ = false;           // pieces of the line that is open were told already
};

}  // namespace forkbox::execd
