#include "api/http/multipart_reader.h"

#include <string.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "api/http/call.h"
#include "api/http/field_syntax.h"

namespace forkbox::http {
namespace {

constexpr std::size_t kMaxHeadBytes = 16 * 1024;
// Of a preamble or an epilogue, which nobody reads and hardly anybody sends.
constexpr std::size_t kMaxJunkBytes = 16 * 1024;
constexpr std::size_t kWindowBytes = 64 * 1024;
constexpr std::size_t kMaxBoundaryBytes = 70;
constexpr std::string_view kCrLf = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

tl::unexpected<Error> Malformed(const char* why) {
  return Fail(ErrorCode::kInvalidArgument, std::string("multipart body: ") + why);
}

bool IsBoundary(std::string_view text) {  // RFC 2046, 5.1.1
  return !text.empty() && text.size() <= kMaxBoundaryBytes && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
         });
}

// "UTF-8''a%20b" (RFC 8187). False when it is another character set or not well-formed.
bool DecodeExtended(std::string_view text, std::string* decoded) {
  const std::size_t first = text.find('\'');
  if (first == std::string_view::npos || !EqualIgnoringCase(text.substr(0, first), "utf-8")) {
    return false;
  }
  const std::size_t second = text.find('\'', first + 1);
  return second != std::string_view::npos &&
         PercentDecode(text.substr(second + 1), false, decoded) && IsFieldValue(*decoded);
}

Result<void> ReadDisposition(std::string_view value, MultipartReader::Part* part) {
  const auto parsed = ParseParameters(value);
  if (!parsed || !EqualIgnoringCase(parsed->value, "form-data")) {
    return Malformed("a Content-Disposition is not one of form-data");
  }
  const std::string* name = FindField(parsed->parameters, "name");
  if (name == nullptr) return Malformed("a part has no name");
  part->name = *name;
  if (const std::string* file = FindField(parsed->parameters, "filename")) part->file_name = *file;
  if (const std::string* file = FindField(parsed->parameters, "filename*")) {
    std::string decoded;
    if (!DecodeExtended(*file, &decoded)) return Malformed("a filename* is not UTF-8");
    part->file_name = std::move(decoded);
  }
  return {};
}

// `lines`: each with its CRLF.
Result<MultipartReader::Part> ReadFields(std::string_view lines) {
  MultipartReader::Part part;
  bool disposed = false;
  bool typed = false;
  while (!lines.empty()) {
    const std::size_t end = lines.find(kCrLf);
    std::string_view name;
    std::string_view value;
    const std::string_view wrong = SplitFieldLine(lines.substr(0, end), &name, &value);
    if (!wrong.empty())
      return Fail(ErrorCode::kInvalidArgument, "multipart body: " + std::string(wrong));
    lines.remove_prefix(end + kCrLf.size());
    if (EqualIgnoringCase(name, "content-disposition")) {
      if (std::exchange(disposed, true)) return Malformed("a part has two Content-Disposition");
      if (Result<void> read = ReadDisposition(value, &part); !read) return Fail(read.error());
    } else if (EqualIgnoringCase(name, "content-type")) {
      if (std::exchange(typed, true)) return Malformed("a part has two Content-Type");
      part.content_type = value;
    } else if (EqualIgnoringCase(name, "content-transfer-encoding")) {
      if (!EqualIgnoringCase(value, "binary") && !EqualIgnoringCase(value, "8bit") &&
          !EqualIgnoringCase(value, "7bit")) {
        return Malformed("a part has an encoding");
      }
    }
  }
  if (!disposed) return Malformed("a part has no Content-Disposition");
  return part;
}

}  // namespace

std::optional<std::string> MultipartReader::BoundaryOf(std::string_view content_type) {
  const auto parsed = ParseParameters(content_type);
  if (!parsed || !EqualIgnoringCase(parsed->value, "multipart/form-data")) return std::nullopt;
  const std::string* boundary = FindField(parsed->parameters, "boundary");
  if (boundary == nullptr || !IsBoundary(*boundary)) return std::nullopt;
  return *boundary;
}

MultipartReader::MultipartReader(std::string boundary, Source source)
    : delimiter_("\r\n--" + std::move(boundary)), source_(std::move(source)) {
  window_.resize(kWindowBytes);
  // The first delimiter may do without its line break.
  window_.replace(0, kCrLf.size(), kCrLf);
  end_ = kCrLf.size();
}

tl::unexpected<Error> MultipartReader::Give(tl::unexpected<Error> error) {
  failure_ = error.value();
  return error;
}

Result<bool> MultipartReader::Fill() {
  if (source_ended_) return false;
  if (begin_ > 0) {
    std::memmove(window_.data(), window_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const Result<std::size_t> got = source_(std::span(window_).subspan(end_));
  if (!got) return Give(Fail(got.error()));
  source_ended_ = *got == 0;
  end_ += std::min(*got, window_.size() - end_);
  return !source_ended_;
}

void MultipartReader::Scan() {
  const std::string_view rest = unread();
  const void* found = ::memmem(rest.data(), rest.size(), delimiter_.data(), delimiter_.size());
  at_delimiter_ = found != nullptr;
  if (at_delimiter_) {
    ready_ = static_cast<std::size_t>(static_cast<const char*>(found) - rest.data());
  } else {
    // The end may begin a delimiter.
    ready_ = rest.size() - std::min(rest.size(), delimiter_.size() - 1);
  }
}

Result<void> MultipartReader::AwaitData() {
  while (ready_ == 0 && !at_delimiter_) {
    const Result<bool> more = Fill();
    if (!more) return Fail(more.error());
    if (!*more) return Give(Malformed("it ends before its last boundary"));
    Scan();
  }
  return {};
}

Result<std::size_t> MultipartReader::Read(std::span<char> into) {
  if (failure_) return Fail(*failure_);
  if (!in_part_ || into.empty()) return std::size_t{0};
  if (Result<void> data = AwaitData(); !data) return Fail(data.error());
  const std::size_t bytes = std::min(ready_, into.size());
  std::memcpy(into.data(), window_.data() + begin_, bytes);
  Drop(bytes);
  return bytes;
}

Result<std::optional<MultipartReader::Part>> MultipartReader::Next() {
  if (failure_) return Fail(*failure_);
  if (ended_) return std::optional<Part>();
  for (std::size_t passed = 0;; Drop(ready_)) {
    if (!at_delimiter_) {
      if (Result<void> data = AwaitData(); !data) return Fail(data.error());
    }
    passed += ready_;
    if (!begun_ && passed > kMaxJunkBytes) return Give(Malformed("too much before its first part"));
    if (at_delimiter_) break;
  }
  begun_ = true;
  Drop(ready_);
  begin_ += delimiter_.size();
  at_delimiter_ = false;
  in_part_ = false;

  while (unread().size() < 2) {
    const Result<bool> more = Fill();
    if (!more) return Fail(more.error());
    if (!*more) return Give(Malformed("it ends before its last boundary"));
  }
  if (unread().starts_with("--")) {
    begin_ += 2;
    if (Result<void> ended = SkipEpilogue(); !ended) return Fail(ended.error());
    return std::optional<Part>();
  }
  return NextFields();
}

Result<std::optional<MultipartReader::Part>> MultipartReader::NextFields() {
  std::size_t end = 0;
  for (std::size_t scanned = 0;;) {
    end = unread().find(kHeadEnd, scanned);
    if (end != std::string_view::npos || unread().size() > kMaxHeadBytes) break;
    scanned = unread().size() - std::min<std::size_t>(unread().size(), kHeadEnd.size() - 1);
    const Result<bool> more = Fill();
    if (!more) return Fail(more.error());
    if (!*more) return Give(Malformed("it ends inside the fields of a part"));
  }
  if (end > kMaxHeadBytes) return Give(Malformed("the fields of a part are too large"));
  std::string_view head = unread().substr(0, end + kCrLf.size());
  const std::size_t line_end = head.find(kCrLf);
  if (!TrimBlanks(head.substr(0, line_end)).empty()) {
    return Give(Malformed("a boundary line has more than the boundary"));
  }
  head.remove_prefix(line_end + kCrLf.size());
  Result<Part> part = ReadFields(head);
  if (!part) return Give(Fail(part.error()));

  // The line break that ends the fields may be the one of a delimiter: then there is no content.
  begin_ += end + kCrLf.size();
  while (unread().size() < delimiter_.size()) {
    const Result<bool> more = Fill();
    if (!more) return Fail(more.error());
    if (!*more) break;
  }
  if (!unread().starts_with(delimiter_)) begin_ += kCrLf.size();
  Scan();
  in_part_ = true;
  return std::optional<Part>(*std::move(part));
}

Result<void> MultipartReader::SkipEpilogue() {
  bool first = true;
  for (std::size_t passed = 0;;) {
    passed += unread().size();
    if (passed > kMaxJunkBytes) return Give(Malformed("too much after its last part"));
    if (first && !unread().empty()) {
      if (kCrLf.find(unread().front()) == std::string_view::npos && unread().front() != ' ' &&
          unread().front() != '\t') {
        return Give(Malformed("a boundary line has more than the boundary"));
      }
      first = false;
    }
    begin_ = end_ = 0;
    const Result<bool> more = Fill();
    if (!more) return Fail(more.error());
    if (!*more) break;
  }
  ended_ = true;
  return {};
}

}  // namespace forkbox::http
