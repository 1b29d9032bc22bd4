#include "runner/sandbox/cgroup_numbers.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

namespace forkbox::sandbox {
namespace {

using std::chrono::microseconds;

std::string ReadWhole(int fd) {
  std::array<char, 2048> buffer;
  const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), 0);
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string();
}

// The number behind `key` in "key number" lines.
std::optional<std::uint64_t> Keyed(const std::string& text, std::string_view key) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.size() > key.size() && line.substr(0, key.size()) == key && line[key.size()] == ' ') {
      return std::strtoull(line.data() + key.size() + 1, nullptr, 10);
    }
    at = end + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<microseconds> CpuUsed(int fd) {
  const std::string text = ReadWhole(fd);
  if (text.empty()) return std::nullopt;
  if (const auto usec = Keyed(text, "usage_usec")) return microseconds(*usec);
  return microseconds(std::strtoull(text.c_str(), nullptr, 10) / 1000);
}

std::uint64_t OomKills(int fd) { return Keyed(ReadWhole(fd), "oom_kill").value_or(0); }

std::uint64_t PlainNumber(int fd) { return std::strtoull(ReadWhole(fd).c_str(), nullptr, 10); }

}  // namespace forkbox::sandbox
