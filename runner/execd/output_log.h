// OutputLog: the newest bytes of an output, found by how many came before them.
//
// One thread, or the caller's mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace forkbox::execd {

class OutputLog {
 public:
  explicit OutputLog(std::size_t capacity) : capacity_(capacity) {}

  void Append(std::string_view bytes);
  // From `offset`, or the oldest byte that is there if that is later, at most `max` bytes.
  // *start: the offset of the first byte returned. An offset beyond the end is the end.
  [[nodiscard]] std::string Read(std::uint64_t offset, std::size_t max, std::uint64_t* start) const;
  // Forgets at least that many of the oldest, or all; returns how many.
  std::size_t Forget(std::size_t bytes);

  [[nodiscard]] std::uint64_t begin() const { return end_ - size_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }  // bytes that ever came
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::size_t capacity_;
  std::deque<std::string> chunks_;  // none empty; all but the last of kChunkBytes
  std::size_t front_skipped_ = 0;   // of the first, already forgotten
  std::size_t size_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace forkbox::execd
