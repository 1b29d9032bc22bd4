#include "schema/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace forkbox::schema {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Sequence {
  std::size_t length = 0;  // of the character, or of the maximal ill-formed subpart
  bool valid = false;
  bool cut = false;  // well-formed so far, then the input ended
};

// Table 3-7 of the Unicode Standard: the second byte's range depends on the first, which keeps
// out overlong forms, surrogates and what lies above U+10FFFF.
Sequence ReadSequence(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

// Where the first byte of 0x80 or above is, from `start` on: eight bytes at a time.
std::size_t SkipAscii(std::string_view bytes, std::size_t start) {
  while (bytes.size() - start >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + start, sizeof word);
    if ((word & 0x8080808080808080U) != 0) break;
    start += sizeof word;
  }
  while (start < bytes.size() && static_cast<unsigned char>(bytes[start]) < 0x80) ++start;
  return start;
}

// The length of the longest valid head.
std::size_t ValidPrefix(std::string_view bytes) {
  std::size_t at = 0;
  for (;;) {
    at = SkipAscii(bytes, at);
    if (at == bytes.size()) return at;
    const Sequence sequence = ReadSequence(bytes.substr(at));
    if (!sequence.valid) return at;
    at += sequence.length;
  }
}

}  // namespace

bool IsValidUtf8(std::string_view bytes) { return ValidPrefix(bytes) == bytes.size(); }

std::string ToValidUtf8(std::string bytes) {
  std::string_view rest = bytes;
  std::size_t valid = ValidPrefix(rest);
  if (valid == rest.size()) return bytes;
  std::string text;
  text.reserve(bytes.size() + bytes.size() / 8 + kReplacement.size());
  for (;;) {
    text += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (rest.empty()) return text;
    text += kReplacement;
    rest.remove_prefix(ReadSequence(rest).length);
    valid = ValidPrefix(rest);
  }
}

std::size_t IncompleteUtf8Suffix(std::string_view bytes) {
  const std::size_t furthest = std::min<std::size_t>(3, bytes.size());
  for (std::size_t back = 1; back <= furthest; ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // a continuation: its lead is further back
    const Sequence sequence = ReadSequence(bytes.substr(bytes.size() - back));
    return sequence.cut && sequence.length == back ? back : 0;
  }
  return 0;
}

}  // namespace forkbox::schema
