#include "cli/relative_sqlite_paths.h"

#include <sqlite3.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

namespace forkbox::cli {

namespace {

// Both for the life of the process, and unchanged once set.
sqlite3_vfs* g_original = nullptr;   // SQLite's own
std::string* g_directory = nullptr;  // the working directory, with a slash at its end

int KeepRelative(sqlite3_vfs* vfs, const char* name, int size, char* out) {
  if (std::strncmp(name, g_directory->c_str(), g_directory->size()) == 0) {
    name += g_directory->size();
  } else if (name[0] == '/') {
    return g_original->xFullPathname(vfs, name, size, out);
  }
  const std::size_t length = std::strlen(name);
  if (length >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

}  // namespace

Result<void> UseRelativeSqlitePaths() {
  static sqlite3_vfs vfs;  // SQLite keeps the pointer
  if (g_original != nullptr) return {};
  sqlite3_vfs* const original = ::sqlite3_vfs_find(nullptr);
  if (original == nullptr) return Fail(ErrorCode::kInternal, "SQLite has no file system layer");
  std::error_code error;
  const std::string directory = std::filesystem::current_path(error).string();
  if (error) return Fail(ErrorCode::kInternal, "working directory: " + error.message());
  g_directory = new std::string(directory + "/");
  vfs = *original;
  vfs.zName = "forkbox-relative";
  vfs.xFullPathname = KeepRelative;
  vfs.pNext = nullptr;
  g_original = original;
  if (::sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) {
    return Fail(ErrorCode::kInternal, "SQLite refused our file system layer");
  }
  return {};
}

}  // namespace forkbox::cli
