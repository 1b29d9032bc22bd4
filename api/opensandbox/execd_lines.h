// LineCutter: some lines of a text that comes in pieces (reference 7.8, line mode).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace forkbox::api {

// Lines `first` … `first + count - 1`, counted from 1, joined by "\n" without one at the end; CRs
// at the end of a line are dropped. Holds nothing of the text. One thread.
class LineCutter {
 public:
  LineCutter(std::uint64_t first, std::uint64_t count);

  // Appends what of `piece` belongs to them. False when none is to come any more.
  bool Cut(std::string_view piece, std::string* out);

 private:
  [[nodiscard]] bool Wanted() const { return line_ >= first_ && line_ - first_ < count_; }
  void Begin(std::string* out);  // of a wanted line

  const std::uint64_t first_;
  const std::uint64_t count_;
  std::uint64_t line_ = 1;
  std::uint64_t returns_ = 0;  // CRs that are dropped if the line ends here
  bool begun_ = false;         // something of this line was seen
};

}  // namespace forkbox::api
