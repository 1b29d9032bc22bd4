// CappedOutput: the head of one stream of a run, and the events of it. What is over the cap is
// counted and gone. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "runner/sandbox/driver.h"

namespace forkbox::sandbox {

class CappedOutput {
 public:
  // `sink`, which outlives it, may be empty; it is given all that is kept, as it comes.
  CappedOutput(std::uint64_t cap, schema::EventKind kind, const EventSink& sink)
      : cap_(cap), kind_(kind), sink_(sink) {}

  void Add(std::string_view piece) {
    const std::string_view kept =
        piece.substr(0, std::min<std::uint64_t>(cap_ - text_.size(), piece.size()));
    if (kept.size() < piece.size()) truncated_ = true;
    if (kept.empty()) return;
    text_.append(kept);
    if (sink_) sink_({kind_, std::string(kept)});
  }

  [[nodiscard]] bool truncated() const { return truncated_; }
  std::string Take() { return std::move(text_); }

 private:
  const std::uint64_t cap_;
  const schema::EventKind kind_;
  const EventSink& sink_;
  std::string text_;  // never longer than the cap
  bool truncated_ = false;
};

}  // namespace forkbox::sandbox
