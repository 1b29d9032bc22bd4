// What a runtime that sizes its heap itself may take of a memory limit: "{heap_mb}" in the commands
// of a manifest.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace forkbox::sandbox {

// A runtime needs about a quarter of a small limit for itself (code, classes, stacks), and a heap
// that ends before the limit does is an error that programs can read.
inline std::uint64_t HeapMegabytes(std::uint64_t memory_bytes) {
  return std::max<std::uint64_t>(8, (memory_bytes >> 20) * 5 / 8);
}

// The word with the number in place of the first "{heap_mb}" in it, if there is one.
inline std::string WithHeapSize(std::string_view word, std::uint64_t memory_bytes) {
  constexpr std::string_view kPlaceholder = "{heap_mb}";
  std::string filled(word);
  const std::size_t at = word.find(kPlaceholder);
  if (at != word.npos) {
    filled.replace(at, kPlaceholder.size(), std::to_string(HeapMegabytes(memory_bytes)));
  }
  return filled;
}

}  // namespace forkbox::sandbox
