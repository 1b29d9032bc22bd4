// Files on their way into a box (reference 7.7), streamed from the connection to its disk.
//
// Parts are pairs by index, in any order. A file whose metadata has come goes to its place at once;
// one that comes first waits on the box's own disk, under the box's own limits, until it is known
// where it belongs. So nothing here grows with the size of a file.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/http/multipart_reader.h"
#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_paths.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using execd::Files;

constexpr std::size_t kMaxMetadataBytes = 64U << 10;
constexpr std::size_t kMaxPairs = 1000;
constexpr std::size_t kPieceBytes = 128U << 10;

class Upload {
 public:
  explicit Upload(ExecdCall& call) : call_(call), files_(call.daemon->files()) {}
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // Answers the call.
  void Run();

 private:
  struct Target {
    std::string path;
    execd::Permission permission;
  };
  // A part that came; each is nothing when all went well.
  using Problem = std::optional<ExecdError>;

  Problem TakeParts(http::MultipartReader& reader);
  Problem TakeMetadata(http::MultipartReader& reader);
  Problem TakeFile(http::MultipartReader& reader);
  Problem ReadTarget(const std::string& text, Target* target);
  Problem FetchSpooled(const std::string& spooled, const Target& target);
  static ExecdError BrokenBody(const Error& error);
  static ExecdError BrokenFile(const Error& error);

  ExecdCall& call_;
  Files& files_;
  std::vector<Target> targets_;       // by index
  std::vector<std::string> spooled_;  // likewise; "" for a file that is in its place
  std::vector<char> piece_ = std::vector<char>(kPieceBytes);
};

Upload::~Upload() {
  for (const std::string& path : spooled_) {
    if (!path.empty()) (void)files_.Remove(path);  // gone with the box otherwise
  }
}

ExecdError Upload::BrokenBody(const Error& error) {
  switch (error.code) {
    case ErrorCode::kQueueFull:
      return {.status = 413, .code = "INVALID_FILE", .message = error.message};
    case ErrorCode::kDeadlineExceeded:
      return {.status = 408, .code = "INVALID_FILE", .message = error.message};
    default:
      return {.status = 400,
              .code = "INVALID_FILE",
              .message = "multipart form is not readable: " + error.message};
  }
}

ExecdError Upload::BrokenFile(const Error& error) {
  return FailedFile(error, "error uploading file. ");
}

Upload::Problem Upload::ReadTarget(const std::string& text, Target* target) {
  const auto wrong = [](std::string message) {
    return ExecdError{
        .status = 400, .code = "INVALID_FILE_METADATA", .message = std::move(message)};
  };
  const auto json = DecodeExecdBody(text);
  if (!json) return wrong("invalid metadata format. " + json.error().message);
  std::string path;
  ExecdFields fields(*json);
  fields.Text("path", &path);
  if (auto read = fields.Finish(); !read) {
    return wrong("invalid metadata format. " + read.error().message);
  }
  auto permission = ReadPermission(*json);
  if (!permission) return wrong("invalid metadata format. " + permission.error().message);
  if (path.empty()) return wrong("metadata path is empty");
  auto expanded = ExecdPath(path, ExecdPathEnvironment(call_.daemon->env()));
  if (!expanded) return wrong("error uploading file. " + expanded.error().message);
  *target = {.path = *std::move(expanded), .permission = *std::move(permission)};
  return std::nullopt;
}

Upload::Problem Upload::TakeMetadata(http::MultipartReader& reader) {
  std::string text;
  for (;;) {
    const auto n = reader.Read(piece_);
    if (!n) return BrokenBody(n.error());
    if (*n == 0) break;
    if (text.size() + *n > kMaxMetadataBytes) {
      return ExecdError{.status = 400,
                        .code = "INVALID_FILE_METADATA",
                        .message = "invalid metadata format. more than 64 KiB"};
    }
    text.append(piece_.data(), *n);
  }
  Target target;
  if (auto problem = ReadTarget(text, &target)) return problem;
  targets_.push_back(std::move(target));
  const std::size_t index = targets_.size() - 1;
  if (index < spooled_.size()) return FetchSpooled(spooled_[index], targets_[index]);
  return std::nullopt;
}

Upload::Problem Upload::TakeFile(http::MultipartReader& reader) {
  const std::size_t index = spooled_.size();
  const bool placed = index < targets_.size();
  const std::string spool = placed ? "" : "/tmp/.upload-" + NewUuidV7();
  auto upload = placed ? files_.Create(targets_[index].path, targets_[index].permission)
                       : files_.Create(spool, {.owner = {}, .group = {}, .mode = 0600});
  if (!upload) return BrokenFile(upload.error());
  for (;;) {
    const auto n = reader.Read(piece_);
    if (!n) return BrokenBody(n.error());
    if (*n == 0) break;
    if (auto written = (*upload)->Write(std::string_view(piece_.data(), *n)); !written) {
      return BrokenFile(written.error());
    }
  }
  if (auto done = (*upload)->Commit(); !done) return BrokenFile(done.error());
  spooled_.push_back(spool);
  return std::nullopt;
}

Upload::Problem Upload::FetchSpooled(const std::string& spooled, const Target& target) {
  // Copied, not renamed: what stood there keeps its mode, and is replaced at once or not at all.
  const auto from = files_.Open(spooled);
  if (!from) return BrokenFile(from.error());
  auto upload = files_.Create(target.path, target.permission);
  if (!upload) return BrokenFile(upload.error());
  for (std::uint64_t done = 0; done < from->size;) {
    const ssize_t n =
        ::pread(from->file.get(), piece_.data(),
                static_cast<std::size_t>(std::min<std::uint64_t>(piece_.size(), from->size - done)),
                static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return BrokenFile({ErrorCode::kInternal, "the file went away on its way"});
    const std::string_view piece(piece_.data(), static_cast<std::size_t>(n));
    if (auto written = (*upload)->Write(piece); !written) return BrokenFile(written.error());
    done += static_cast<std::uint64_t>(n);
  }
  if (auto done = (*upload)->Commit(); !done) return BrokenFile(done.error());
  return std::nullopt;
}

Upload::Problem Upload::TakeParts(http::MultipartReader& reader) {
  for (;;) {
    auto part = reader.Next();
    if (!part) return BrokenBody(part.error());
    if (!*part) break;
    if (!(*part)->file_name) continue;  // form values, which mean nothing here
    const bool metadata = (*part)->name == "metadata";
    if (!metadata && (*part)->name != "file") continue;
    if ((metadata ? targets_.size() : spooled_.size()) == kMaxPairs) {
      return ExecdError{.status = 400,
                        .code = "INVALID_FILE",
                        .message = "more than " + std::to_string(kMaxPairs) + " files"};
    }
    if (auto problem = metadata ? TakeMetadata(reader) : TakeFile(reader)) return problem;
  }
  if (targets_.empty()) {
    return ExecdError{
        .status = 400, .code = "INVALID_FILE_METADATA", .message = "metadata file is missing"};
  }
  if (spooled_.empty()) {
    return ExecdError{.status = 400, .code = "INVALID_FILE_CONTENT", .message = "file is missing"};
  }
  if (targets_.size() != spooled_.size()) {
    return ExecdError{
        .status = 400,
        .code = "INVALID_FILE",
        .message = "metadata and file count mismatch: " + std::to_string(targets_.size()) + " vs " +
                   std::to_string(spooled_.size())};
  }
  return std::nullopt;
}

void Upload::Run() {
  const std::string* const type = call_.Header("Content-Type");
  const auto boundary =
      type != nullptr ? http::MultipartReader::BoundaryOf(*type) : std::optional<std::string>();
  if (!boundary) {
    return call_.Refuse(
        {.status = 400, .code = "INVALID_FILE", .message = "multipart form is empty"});
  }
  std::string_view rest = call_.body;
  http::MultipartReader reader(*boundary, [&](std::span<char> into) -> Result<std::size_t> {
    if (call_.taken != nullptr) return call_.taken->ReadBody(into);
    const std::size_t n = rest.copy(into.data(), into.size());
    rest.remove_prefix(n);
    return n;
  });
  if (auto problem = TakeParts(reader)) return call_.Refuse(*problem);
  call_.Done();
}

void ServeUpload(ExecdCall& call) { Upload(call).Run(); }

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kPost, "/files/upload", ServeUpload},
};

}  // namespace

std::span<const ExecdRoute> ExecdUploadRoutes() { return kRoutes; }

}  // namespace forkbox::api
