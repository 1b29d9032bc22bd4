// Files on their way out of a box (reference 7.8): whole, a range of bytes, or some lines.

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_file_info.h"
#include "api/opensandbox/execd_lines.h"
#include "api/opensandbox/execd_range.h"
#include "api/opensandbox/execd_stream.h"

namespace forkbox::api {
namespace {

using OpenFile = execd::Files::OpenFile;

constexpr std::size_t kReadBytes = 256U << 10;

// `offset` and `limit`: at least 1. False when the call was refused.
bool ReadPositive(ExecdCall& call, std::string_view name, std::uint64_t* value, bool* given) {
  std::string text;
  if (!call.Query(name, &text) || text.empty()) return true;
  *given = true;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *value);
  if (error == std::errc() && stop == end && *value >= 1) return true;
  call.Refuse(InvalidBody("invalid query parameter '" + std::string(name) + "': " + text));
  return false;
}

// What fits goes out as one answer with its length: an empty one must not be chunked (15.5).
void SendLines(ExecdCall& call, const OpenFile& open, std::uint64_t first, std::uint64_t count) {
  constexpr std::string_view kType = "text/plain; charset=utf-8";
  LineCutter cutter(first, count);
  std::vector<char> piece(kReadBytes);
  std::string text;
  bool streaming = false;
  std::uint64_t at = 0;
  for (;;) {
    const ssize_t n = ::pread(open.file.get(), piece.data(), piece.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<std::uint64_t>(n);
    const bool more = cutter.Cut({piece.data(), static_cast<std::size_t>(n)}, &text);
    if (!more) break;
    // Lines that are far in, of a file that has no end: somebody must still want them.
    if (!call.reply.Alive()) return;
    if (text.size() < kReadBytes) continue;
    if (!streaming && !call.reply.Start(200, kType)) return;
    streaming = true;
    if (!WriteAtItsPace(call.reply, text)) return;
    text.clear();
  }
  if (!streaming) {
    call.Answer(200, kType, text);
    return;
  }
  if (WriteAtItsPace(call.reply, text)) call.reply.End();
}

void SendBytes(ExecdCall& call, OpenFile open) {
  constexpr std::string_view kType = "application/octet-stream";
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t modified =
      open.modified_unix_ns / kSecond - (open.modified_unix_ns % kSecond < 0 ? 1 : 0);
  const std::string date = HttpDate(modified);
  const std::size_t slash = open.path.rfind('/');
  http::Fields headers{
      {"Content-Disposition",
       ContentDisposition(slash == std::string::npos ? open.path : open.path.substr(slash + 1))},
      {"Accept-Ranges", "bytes"}};
  if (!date.empty()) headers.emplace_back("Last-Modified", date);

  const std::string* range = call.Header("Range");
  const std::string* const since = call.Header("If-Modified-Since");
  if (since != nullptr && call.Header("If-None-Match") == nullptr) {
    if (const auto known = ParseHttpDate(*since); known && modified <= *known) {
      call.Answer(304, "", "", headers);
      return;
    }
  }
  // RFC 9110, 13.1.5: a part of something else than what the client has is of no use to it.
  if (const std::string* const same = call.Header("If-Range"); same != nullptr && *same != date) {
    range = nullptr;
  }
  if (range == nullptr || range->empty()) {
    call.reply.SendFile(200, kType, std::move(open.file), 0, open.size, headers);
    return;
  }
  const ByteRange wanted = ParseByteRange(*range, open.size);
  const std::string size = std::to_string(open.size);
  switch (wanted.kind) {
    case ByteRange::Kind::kWhole:
      call.reply.SendFile(200, kType, std::move(open.file), 0, open.size, headers);
      return;
    case ByteRange::Kind::kPart:
      headers.emplace_back("Content-Range", "bytes " + std::to_string(wanted.offset) + "-" +
                                                std::to_string(wanted.offset + wanted.length - 1) +
                                                "/" + size);
      call.reply.SendFile(206, kType, std::move(open.file), wanted.offset, wanted.length, headers);
      return;
    case ByteRange::Kind::kMalformed:
    case ByteRange::Kind::kUnsatisfiable:
      break;
  }
  const ExecdError refusal{
      .status = 416,
      .code = "UNKNOWN",
      .message = wanted.kind == ByteRange::Kind::kMalformed
                     ? "invalid range"
                     : "the range is behind the end of the file, which has " + size + " bytes"};
  call.Answer(416, "application/json; charset=utf-8", refusal.Body(),
              {{"Content-Range", "bytes */" + size}});
}

void ServeDownload(ExecdCall& call) {
  std::string asked;
  if (!call.NeedQuery("path", &asked)) return;
  std::uint64_t first = 1;
  std::uint64_t count = std::numeric_limits<std::uint64_t>::max();
  bool lines = false;
  if (!ReadPositive(call, "offset", &first, &lines) ||
      !ReadPositive(call, "limit", &count, &lines)) {
    return;
  }
  if (lines && call.Header("Range") != nullptr) {
    return call.Refuse(
        InvalidBody("line-based reading (offset/limit) and byte range (Range header) are mutually "
                    "exclusive"));
  }
  std::string path;
  if (!ReadPath(call, asked, &path)) return;
  auto open = call.daemon->files().Open(path);
  if (!open) {
    if (open.error().code == ErrorCode::kNotFound) {
      return call.Refuse({.status = 404,
                          .code = "FILE_NOT_FOUND",
                          .message = "file not found. " + open.error().message});
    }
    return call.Refuse(FailedFile(open.error(), "error opening file: "));
  }
  if (lines) return SendLines(call, *open, first, count);
  SendBytes(call, *std::move(open));
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kGet, "/files/download", ServeDownload},
};

}  // namespace

std::span<const ExecdRoute> ExecdDownloadRoutes() { return kRoutes; }

}  // namespace forkbox::api
