// Bytes on a Unix socket: bounded writing and reading of length-prefixed fields, and whole
// SOCK_SEQPACKET messages with descriptors. Used between the driver, the forkserver, templates and
// children; the reader trusts nothing and fails once for all.
//
// No allocation in RecvPacket/SendPacket, so they may be used between fork and exec.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace forkbox::sandbox {

class WireWriter {
 public:
  void U32(std::uint32_t value) { bytes_.append(reinterpret_cast<const char*>(&value), 4); }
  void U64(std::uint64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), 8); }
  void Text(std::string_view text) {
    U32(static_cast<std::uint32_t>(text.size()));
    bytes_.append(text);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  std::uint32_t U32() { return Number<std::uint32_t>(); }
  std::uint64_t U64() { return Number<std::uint64_t>(); }
  std::string_view Text() {
    const std::uint32_t size = U32();
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }
  // A count of items that each take at least `item_bytes`; more than can follow is an error.
  std::uint32_t Count(std::size_t item_bytes) {
    const std::uint32_t count = U32();
    if (count > rest_.size() / item_bytes) {
      ok_ = false;
      return 0;
    }
    return count;
  }
  // False as soon as anything did not fit; numbers then read as 0 and texts as "".
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool AtEnd() const { return ok_ && rest_.empty(); }

 private:
  template <class T>
  T Number() {
    T value{};
    if (rest_.size() < sizeof value) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }

  std::string_view rest_;
  bool ok_ = true;
};

inline constexpr std::size_t kMaxPacketFds = 16;

// One packet with descriptors. False with errno set when it could not be sent whole.
bool SendPacket(int socket, const void* data, std::size_t size, std::span<const int> fds = {});

// One packet; its descriptors are close-on-exec and belong to the caller. Returns its size, 0 when
// the peer is gone, -1 with errno set. A packet or descriptor list that did not fit is EMSGSIZE
// (descriptors closed).
ssize_t RecvPacket(int socket, void* data, std::size_t capacity, int* fds, std::size_t* fd_count);

}  // namespace forkbox::sandbox
