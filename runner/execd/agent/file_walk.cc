#include "runner/execd/agent/file_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "runner/execd/agent/agent_wire.h"
#include "runner/execd/agent/file_operations.h"
#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

// Names in all the directories that we are inside of.
constexpr std::size_t kMaxPendingNames = 1'000'000;

struct Name {
  std::string text;
  bool is_directory = false;
};

struct Level {
  UniqueFd directory;
  std::vector<Name> names;  // in order
  std::size_t next = 0;
  std::size_t path_size = 0;  // of the directory's path
};

class Walk {
 public:
  using Visit = std::function<Result<void>(int directory, const Name& name, std::string path)>;

  Walk(std::string root, std::uint32_t depth, const std::function<bool()>& cancelled)
      : path_(std::move(root)), depth_(depth), cancelled_(cancelled) {}

  // Each entry in order of names, what is in a directory right behind it.
  Result<void> Run(const Visit& visit) {
    if (auto entered = Enter(AT_FDCWD, path_); !entered) return Fail(entered.error());
    for (std::size_t step = 0; !levels_.empty(); ++step) {
      if (step % 1024 == 0 && cancelled_()) return FailSystem("walk", path_, ECANCELED);
      Level& level = levels_.back();
      path_.resize(level.path_size);
      if (level.next == level.names.size()) {
        pending_ -= level.names.size();
        levels_.pop_back();
        continue;
      }
      const Name& name = level.names[level.next++];
      if (!path_.ends_with('/')) path_ += '/';
      path_ += name.text;
      const int directory = level.directory.get();
      if (auto visited = visit(directory, name, path_); !visited) return visited;
      if (!name.is_directory || levels_.size() >= depth_) continue;
      if (levels_.size() >= kMaxWalkDepth) {
        return Fail(ErrorCode::kInvalidArgument,
                    "directories are nested more than " + std::to_string(kMaxWalkDepth) + " deep");
      }
      if (auto entered = Enter(directory, name.text); !entered) return Fail(entered.error());
    }
    return {};
  }

 private:
  // One that has vanished, or become something else, is left out.
  Result<void> Enter(int parent, const std::string& name) {
    UniqueFd directory(
        ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const int copy = directory ? ::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0) : -1;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(copy < 0 ? nullptr : ::fdopendir(copy),
                                                     ::closedir);
    if (stream == nullptr) {
      const int error = errno;
      if (copy >= 0) ::close(copy);
      const bool gone = error == ENOENT || error == ENOTDIR || error == ELOOP;
      if (gone && parent != AT_FDCWD) return {};
      return FailSystem("open", path_, error);
    }
    Level level{.directory = std::move(directory), .names = {}, .path_size = path_.size()};
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) break;
      const std::string_view text = entry->d_name;
      if (text == "." || text == "..") continue;
      if (++pending_ > kMaxPendingNames) {
        return Fail(ErrorCode::kInvalidArgument, "directory " + path_ + " has too many entries");
      }
      bool is_directory = entry->d_type == DT_DIR;
      if (entry->d_type == DT_UNKNOWN) {
        struct stat status {};
        is_directory =
            ::fstatat(level.directory.get(), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(status.st_mode);
      }
      level.names.push_back({std::string(text), is_directory});
    }
    if (errno != 0 && errno != ENOENT) return FailSystem("readdir", path_);
    std::sort(level.names.begin(), level.names.end(),
              [](const Name& a, const Name& b) { return a.text < b.text; });
    levels_.push_back(std::move(level));
    return {};
  }

  std::string path_;  // of where we are
  const std::uint32_t depth_;
  const std::function<bool()>& cancelled_;
  std::vector<Level> levels_;
  std::size_t pending_ = 0;
};

// Gives the entry away, unless it is not there any more.
Result<void> Show(int directory, const std::string& name, std::string path,
                  const AccountNames& names, const EntrySink& sink) {
  const auto info = DescribeFile(directory, name, std::move(path), names);
  if (info) return sink(*info);
  if (info.error().code == ErrorCode::kNotFound) return {};
  return Fail(info.error());
}

}  // namespace

Result<void> ListDirectory(const std::string& path, std::uint32_t depth, const AccountNames& names,
                           const std::function<bool()>& cancelled, const EntrySink& sink) {
  const auto root = DescribeFile(AT_FDCWD, path, path, names);
  if (!root) return Fail(root.error());
  if (root->type == FileInfo::Type::kSymlink) {
    return Fail(ErrorCode::kInvalidArgument,
                "path is a symbolic link, refusing to traverse: " + path);
  }
  if (root->type != FileInfo::Type::kDirectory) {
    return Fail(ErrorCode::kInvalidArgument, "path is not a directory: " + path);
  }
  if (depth == 0) return {};
  return Walk(path, depth, cancelled).Run([&](int directory, const Name& name, std::string where) {
    return Show(directory, name.text, std::move(where), names, sink);
  });
}

Result<void> SearchFiles(const std::string& path, const GlobPattern& pattern,
                         const AccountNames& names, const std::function<bool()>& cancelled,
                         const EntrySink& sink) {
  const auto root = DescribeFile(AT_FDCWD, path, path, names);
  if (!root) return Fail(root.error());
  if (root->type != FileInfo::Type::kDirectory) {
    return pattern.Matches(path.substr(path.rfind('/') + 1)) ? sink(*root) : Result<void>();
  }
  constexpr std::uint32_t kAllLevels = ~0U;
  return Walk(path, kAllLevels, cancelled)
      .Run([&](int directory, const Name& name, std::string where) -> Result<void> {
        if (name.is_directory || !pattern.Matches(name.text)) return {};
        return Show(directory, name.text, std::move(where), names, sink);
      });
}

}  // namespace forkbox::execd
