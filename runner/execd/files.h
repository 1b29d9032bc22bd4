// Files: the file operations of one box, each done inside it by a process of its own user. Nothing
// is ever opened by name from outside.
//
// Paths are absolute or relative to the work directory, and go as they are: `$NAME` and `~` were
// expanded before (path_expansion.h). Bounds: a path has at most 4095 bytes, a listing or a search
// 100,000 entries, a replaced file 64 MiB; beyond, kInvalidArgument. Of listings and searches two
// run at a time, the others wait; of all boxes together they hold so much memory, and no more.
//
// Errors: kNotFound; kInvalidArgument for what the reference answers 400; kConflict where something
// stands in the way; kUnavailable when the box has ended, is frozen ("the sandbox is paused": at
// once, or when the patience of what a freeze has caught is over), or too much is wanted at once;
// kInternal for everything else, with the system's words ("no space left on device"). Blocks, for
// at most the operation's patience. When the process inside is killed another one takes its place.
// The destructor waits for nothing.
//
// Thread-safe: operations run side by side.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

struct FileInfo {
  enum class Type { kFile, kDirectory, kSymlink, kOther };
  std::string path;  // absolute and clean
  Type type = Type::kFile;
  std::uint64_t size = 0;
  std::int64_t modified_unix_ns = 0;
  std::int64_t created_unix_ns = 0;  // birth where the file system knows it, else ctime
  std::string owner;                 // the name, or the number where there is none
  std::string group;
  std::uint32_t mode = 0;  // the low nine bits
};

struct Permission {
  std::string owner;  // "" leaves it
  std::string group;
  std::uint32_t mode = 0;  // bits; 0 leaves it
};

struct Replacement {
  std::string path;
  std::string old_text;  // not empty
  std::string new_text;
};

class Files {
 public:
  // How long is waited.
  struct Patience {
    std::chrono::milliseconds begin{5'000};    // for an agent to take a request; then for another
    std::chrono::milliseconds quick{15'000};   // what concerns one file
    std::chrono::milliseconds whole{120'000};  // what concerns many, or its content
  };

  // The box must outlive it.
  explicit Files(sandbox::Box& box) : Files(box, Patience()) {}
  Files(sandbox::Box& box, Patience patience);
  ~Files();
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  // As lstat(2).
  Result<FileInfo> Info(const std::string& path);
  // Files and links; what is not there is fine. kInternal for a directory.
  Result<void> Remove(const std::string& path);
  Result<void> SetPermission(const std::string& path, const Permission& permission);
  // Parents of the destination are made. kNotFound, kConflict when the destination is there.
  Result<void> Move(const std::string& from, const std::string& to);
  // What is no directory, below `path`, whose name matches the glob; see reference 7.5.
  Result<std::vector<FileInfo>> Search(const std::string& path, const std::string& pattern);
  // How often it stood there. Atomic: the old file or the new one, never half of it.
  Result<std::uint64_t> Replace(const Replacement& replacement);

  // Depth-first, in order of names. kInvalidArgument for a link and for what is no directory.
  Result<std::vector<FileInfo>> List(const std::string& path, std::uint32_t depth);
  // With its parents; the permission is for a last component that was not there.
  Result<void> MakeDirectory(const std::string& path, const Permission& permission);
  // All below it too; plain files as well. What is not there is fine. kInvalidArgument for the root
  // and for what ends in "." or "..", as rm(1) has it.
  Result<void> RemoveTree(const std::string& path);
  // That one can go there: kInvalidArgument with the reference's words if not (4.1).
  Result<void> CheckDirectory(const std::string& path);

  // A regular file, and none of the kernel's (/proc), opened for reading in the box and looked at
  // here: `size` bytes can be sent with sendfile(2), or fewer where it shrinks meanwhile. Links are
  // followed. Its position is shared with the box: read at offsets (pread(2)) alone.
  struct OpenFile {
    UniqueFd file;
    std::uint64_t size = 0;
    std::int64_t modified_unix_ns = 0;
    std::string path;  // absolute
  };
  Result<OpenFile> Open(const std::string& path);

  // A file on its way in. The bytes go into a temporary file beside the target; Commit() puts it in
  // place at once (rename) and applies the permission. Destroyed without a commit, nothing remains.
  class Upload {
   public:
    virtual ~Upload() = default;
    virtual Result<void> Write(std::string_view bytes) = 0;  // blocks while the disk is busy
    virtual Result<void> Commit() = 0;
  };
  Result<std::unique_ptr<Upload>> Create(const std::string& path, const Permission& permission);

  // kill(2) in the box. kNotFound: there is no such process.
  // `patience`: for all of it, where the usual (quick) is too long.
  Result<void> Signal(pid_t pid, int number, bool whole_group,
                      std::optional<std::chrono::milliseconds> patience = std::nullopt);

  // A TCP connection to 127.0.0.1:port inside, else to [::1]:port; non-blocking, but whoever made
  // it can undo that: use MSG_DONTWAIT. kUnavailable when nobody listens.
  Result<UniqueFd> Connect(std::uint16_t port);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::execd
