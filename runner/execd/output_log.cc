#include "runner/execd/output_log.h"

#include <algorithm>

namespace forkbox::execd {
namespace {

constexpr std::size_t kChunkBytes = 32U << 10;

}  // namespace

void OutputLog::Append(std::string_view bytes) {
  end_ += bytes.size();
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (chunks_.empty() || chunks_.back().size() == kChunkBytes) chunks_.emplace_back();
    const std::size_t taken = std::min(bytes.size(), kChunkBytes - chunks_.back().size());
    chunks_.back().append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
  }
  if (size_ > capacity_) Forget(size_ - capacity_);
}

std::size_t OutputLog::Forget(std::size_t bytes) {
  const std::size_t forgotten = std::min(bytes, size_);
  size_ -= forgotten;
  front_skipped_ += forgotten;
  while (!chunks_.empty() && front_skipped_ >= chunks_.front().size()) {
    front_skipped_ -= chunks_.front().size();
    chunks_.pop_front();
  }
  return forgotten;
}

std::string OutputLog::Read(std::uint64_t offset, std::size_t max, std::uint64_t* start) const {
  *start = std::clamp(offset, begin(), end_);
  // All chunks but the last are full, so the one with the offset is found by division.
  std::size_t at = static_cast<std::size_t>(*start - begin()) + front_skipped_;
  std::string bytes;
  bytes.reserve(std::min<std::size_t>(max, static_cast<std::size_t>(end_ - *start)));
  for (std::size_t i = at / kChunkBytes; i < chunks_.size() && bytes.size() < max; ++i) {
    const std::string_view chunk = std::string_view(chunks_[i]).substr(at - i * kChunkBytes);
    bytes.append(chunk.substr(0, max - bytes.size()));
    at = (i + 1) * kChunkBytes;
  }
  return bytes;
}

}  // namespace forkbox::execd
