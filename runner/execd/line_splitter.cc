#include "runner/execd/line_splitter.h"

#include <algorithm>
#include <utility>

namespace forkbox::execd {

void LineSplitter::Feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (std::exchange(after_return_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    Hold(bytes.substr(0, end), sink);
    if (end == std::string_view::npos) return;
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    // The end of a line that was told in pieces adds nothing when nothing came after the last.
    const bool cut = std::exchange(cut_, false);
    if (held_.empty() && cut) continue;
    sink(held_.empty() ? std::string("\n") : std::exchange(held_, {}));
  }
}

void LineSplitter::Hold(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    const std::size_t taken = std::min(bytes.size(), kMaxLineBytes - held_.size());
    held_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (held_.size() < kMaxLineBytes) continue;
    sink(std::exchange(held_, {}));
    cut_ = true;
  }
}

void LineSplitter::Finish(const Sink& sink) {
  if (!held_.empty()) sink(std::exchange(held_, {}));
  cut_ = false;
  after_return_ = false;
}

}  // namespace forkbox::execd
