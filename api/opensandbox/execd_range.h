// Which bytes of a file a Range header means (reference 7.8), and which lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox::api {

struct ByteRange {
  enum class Kind {
    kWhole,          // 200
    kPart,           // 206
    kMalformed,      // 416
    kUnsatisfiable,  // 416: all of it is behind the end
  };
  Kind kind = Kind::kWhole;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Of several ranges the first that can be satisfied. An empty file is always sent whole.
ByteRange ParseByteRange(std::string_view header, std::uint64_t size);

// attachment; filename="…", and for names beyond ASCII filename* as well.
std::string ContentDisposition(std::string_view file_name);

// "Mon, 15 Jun 2026 09:46:00 GMT" (RFC 9110, 5.6.7), and back: null for other forms.
std::string HttpDate(std::int64_t unix_seconds);
std::optional<std::int64_t> ParseHttpDate(std::string_view text);

}  // namespace forkbox::api
