// MultipartReader: a multipart/form-data body (RFC 7578), part by part, as it comes: nothing but
// the fields of one part and a window of some kilobytes is ever held.
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::http {

class MultipartReader {
 public:
  // The next bytes of the body; 0 at its end.
  using Source = std::function<Result<std::size_t>(std::span<char> into)>;

  struct Part {
    std::string name;
    std::optional<std::string> file_name;  // what makes it a file
    std::string content_type;
  };

  // The boundary of a Content-Type; nullopt when it is not multipart/form-data with one of 1 to 70
  // characters.
  static std::optional<std::string> BoundaryOf(std::string_view content_type);

  MultipartReader(std::string boundary, Source source);

  // Skips what is left of the part before. nullopt after the last. kInvalidArgument: not
  // well-formed, or the fields of a part take more than 16 KiB; or what the source failed with.
  Result<std::optional<Part>> Next();
  // Of the part at hand; 0 at its end.
  Result<std::size_t> Read(std::span<char> into);

 private:
  std::string delimiter_;
  Source source_;
  std::string window_;
  bool ended_ = false;
};

}  // namespace forkbox::http
