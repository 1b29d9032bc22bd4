#include "cli/server_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "base/log.h"
#include "base/unique_fd.h"
#include "cli/data_dir.h"
#include "cli/privileges.h"
#include "cli/relative_sqlite_paths.h"
#include "cli/settings.h"

namespace forkbox::cli {
namespace {

constexpr const char* kFile = "forkbox.db";

// Makes it ours if nobody has it, and stands in it as its owner.
Result<void> EnterAsItsOwner(const std::string& data_dir) {
  std::optional<FileOwner> service;
  if (IsRoot()) {
    auto made = EnsureServiceUser();
    if (!made) return Fail(made.error());
    service = *made;
  }
  {
    // The lock is a server's; one that is running made everything already.
    const auto made = DataDir::Open(data_dir, service);
    if (!made && made.error().code != ErrorCode::kConflict) return Fail(made.error());
  }
  const UniqueFd dir(::open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!dir || ::fstat(dir.get(), &info) != 0 || ::fchdir(dir.get()) != 0) {
    return FailErrno("data directory " + data_dir);
  }
  if (IsRoot() && info.st_uid != 0) {
    if (auto dropped = DropPrivileges({info.st_uid, info.st_gid}); !dropped) return dropped;
  }
  return UseRelativeSqlitePaths();
}

}  // namespace

Result<std::unique_ptr<store::Store>> OpenServerStore(const std::string& database,
                                                      const std::string& data_dir,
                                                      IfMissing if_missing) {
  if (!database.empty()) return store::OpenStore(database, Log::Null());
  if (std::error_code error;
      if_missing == IfMissing::kFail &&
      !std::filesystem::exists(std::filesystem::path(data_dir) / kFile, error)) {
    return Fail(ErrorCode::kNotFound,
                "there is no database in " + data_dir + "; give --data-dir or --database");
  }
  if (auto entered = EnterAsItsOwner(data_dir); !entered) return Fail(entered.error());
  return store::OpenStore(std::string("sqlite:") + kFile, Log::Null());
}

std::string ServerStoreName(const std::string& database, const std::string& data_dir) {
  if (!database.empty()) return MaskUrlPassword(database);
  return (std::filesystem::path(data_dir) / kFile).string();
}

}  // namespace forkbox::cli
