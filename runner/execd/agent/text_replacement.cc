#include "runner/execd/agent/text_replacement.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "runner/execd/agent/agent_wire.h"
#include "runner/execd/agent/file_operations.h"
#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

tl::unexpected<Error> TooLarge(const std::string& path) {
  return Fail(ErrorCode::kInvalidArgument, "replace in " + path + ": a file has at most " +
                                               std::to_string(kMaxReplaceBytes) + " bytes");
}

Result<std::string> ReadWhole(int file, const std::string& path) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return FailSystem("stat", path);
  if (static_cast<std::uint64_t>(status.st_size) > kMaxReplaceBytes) return TooLarge(path);
  std::string text;
  // One byte more than there should be, so that its end is seen without growing.
  text.resize(static_cast<std::size_t>(status.st_size) + 1);
  std::size_t size = 0;
  for (;;) {
    if (size == text.size()) text.resize(std::min(2 * size, kMaxReplaceBytes + 1));
    const ssize_t n = ::read(file, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailSystem("read", path);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
    if (size > kMaxReplaceBytes) return TooLarge(path);
  }
  text.resize(size);
  return text;
}

// Where it stands, from left to right, without overlaps.
std::vector<std::size_t> Find(std::string_view text, std::string_view wanted) {
  std::vector<std::size_t> places;
  std::size_t at = 0;
  while (at < text.size()) {
    // Unlike string_view::find() this takes no longer for texts made to be slow.
    const void* found = ::memmem(text.data() + at, text.size() - at, wanted.data(), wanted.size());
    if (found == nullptr) break;
    at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    places.push_back(at);
    at += wanted.size();
  }
  return places;
}

}  // namespace

Result<std::uint64_t> ReplaceText(StagedFile& staged, std::string_view old_text,
                                  std::string_view new_text, const AccountNames& names) {
  if (old_text.empty()) return Fail(ErrorCode::kInvalidArgument, "old content must not be empty");
  auto file = OpenRegularFile(staged.target());
  if (!file) return Fail(file.error());
  const auto text = ReadWhole(file->get(), staged.target());
  if (!text) return Fail(text.error());
  const std::vector<std::size_t> places = Find(*text, old_text);
  if (places.empty()) return 0;
  const std::size_t kept = text->size() - places.size() * old_text.size();
  if (!new_text.empty() && places.size() > (kMaxReplaceBytes - kept) / new_text.size()) {
    return TooLarge(staged.target());
  }

  if (auto opened = staged.Open(); !opened) return Fail(opened.error());
  constexpr std::size_t kWriteBytes = 256U << 10;
  std::string ready;  // small pieces gathered
  const auto write = [&](std::string_view piece) -> Result<void> {
    ready.append(piece);
    if (ready.size() < kWriteBytes) return {};
    auto written = staged.Write(ready);
    ready.clear();
    return written;
  };
  const std::string_view whole = *text;
  std::size_t from = 0;
  for (const std::size_t place : places) {
    if (auto written = write(whole.substr(from, place - from)); !written)
      return Fail(written.error());
    if (auto written = write(new_text); !written) return Fail(written.error());
    from = place + old_text.size();
  }
  if (auto written = write(whole.substr(from)); !written) return Fail(written.error());
  if (auto written = staged.Write(ready); !written) return Fail(written.error());
  if (auto done = staged.Commit({}, names); !done) return Fail(done.error());
  return places.size();
}

}  // namespace forkbox::execd
