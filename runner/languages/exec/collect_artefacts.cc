#include "runner/languages/exec/collect_artefacts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "base/unique_fd.h"
#include "runner/sandbox/artefact_bounds.h"
#include "runner/sandbox/template/job_wire.h"

namespace forkbox::sandbox {
namespace {

struct Collected {
  std::deque<std::string> paths;  // a deque, so that views of its elements stay
  std::deque<std::string> contents;
  std::vector<JobFile> files;
  std::size_t bytes = 0;
  std::string problem;  // the first one ends the collecting

  bool Failed(const std::string& path, const std::string& why) {
    if (problem.empty()) problem = path + ": " + why;
    return false;
  }
};

// Opened so that neither a link nor a pipe that nobody writes leads anywhere.
UniqueFd Open(const std::string& path, bool folder) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (folder ? O_DIRECTORY : 0U);
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

bool TakeFile(const std::string& path, Collected* all) {
  const UniqueFd fd = Open(path, /*folder=*/false);
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return all->Failed(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return all->Failed(path, "is not a file");
  if (all->files.size() >= kMaxArtefactFiles) return all->Failed(path, "too many files");
  const auto room = kMaxArtefactBytes - all->bytes;
  if (static_cast<std::size_t>(info.st_size) > room) {
    return all->Failed(path, "the program is too large");
  }
  std::string content(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + at, content.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return all->Failed(path, std::strerror(errno));
    if (n == 0) break;
    at += static_cast<std::size_t>(n);
  }
  content.resize(at);
  all->bytes += at;
  all->paths.push_back(path);
  all->contents.push_back(std::move(content));
  all->files.push_back({all->paths.back(), all->contents.back(), (info.st_mode & 0111) != 0});
  return true;
}

// `path` ends in '/'.
bool TakeFolder(const std::string& path, std::size_t depth, Collected* all) {
  UniqueFd fd = Open(path, /*folder=*/true);
  if (!fd) return all->Failed(path, std::strerror(errno));
  if (depth > kMaxArtefactDepth) return all->Failed(path, "too many folders in each other");
  DIR* folder = ::fdopendir(fd.Release());
  if (folder == nullptr) return all->Failed(path, std::strerror(errno));
  // Its own order is that of a hash, and the same source should give the same bytes.
  std::vector<std::pair<std::string, bool>> entries;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    entries.emplace_back(name, entry->d_type == DT_DIR);
    if (entries.size() > kMaxArtefactFiles) break;
  }
  ::closedir(folder);
  if (entries.size() > kMaxArtefactFiles) return all->Failed(path, "too many files");
  std::sort(entries.begin(), entries.end());
  for (const auto& [name, is_folder] : entries) {
    if (!(is_folder ? TakeFolder(path + name + "/", depth + 1, all) : TakeFile(path + name, all))) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string CollectArtefacts(const std::vector<std::string>& paths) {
  Collected all;
  for (const std::string& path : paths) {
    if (!(path.back() == '/' ? TakeFolder(path, 1, &all) : TakeFile(path, &all))) break;
  }
  if (!all.problem.empty()) {
    return static_cast<char>(AnswerKind::kNoArtefacts) + all.problem;
  }
  return static_cast<char>(AnswerKind::kArtefacts) + EncodeFiles(all.files);
}

}  // namespace forkbox::sandbox
