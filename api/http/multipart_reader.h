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

  // Skips what is left of the part before. nullopt after the last, once the source is read to its
  // end. kInvalidArgument: not well-formed, or the fields of a part, or what stands before the
  // first or after the last, take more than 16 KiB; or what the source failed with. A failure is
  // final. How many parts there are is the caller's to bound.
  Result<std::optional<Part>> Next();
  // Of the part at hand; 0 at its end.
  Result<std::size_t> Read(std::span<char> into);

 private:
  [[nodiscard]] std::string_view unread() const {
    return std::string_view(window_).substr(begin_, end_ - begin_);
  }
  // More of the body into the window; false at its end.
  Result<bool> Fill();
  // Looks for the next delimiter in the window.
  void Scan();
  // Until some of the content is ready, or its end.
  Result<void> AwaitData();
  void Drop(std::size_t bytes) {
    begin_ += bytes;
    ready_ -= bytes;
  }
  Result<std::optional<Part>> NextFields();
  Result<void> SkipEpilogue();
  // Every later call fails with it too.
  tl::unexpected<Error> Give(tl::unexpected<Error> error);

  const std::string delimiter_;  // with the line break before it
  Source source_;
  std::string window_;
  std::size_t begin_ = 0;  // of what is in the window and not yet given out
  std::size_t end_ = 0;
  std::size_t ready_ = 0;      // so many bytes of it are content
  bool at_delimiter_ = false;  // which follows after them
  bool in_part_ = false;
  bool begun_ = false;  // a delimiter has been seen
  bool source_ended_ = false;
  bool ended_ = false;
  std::optional<Error> failure_;
};

}  // namespace forkbox::http
