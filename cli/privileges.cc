#include "cli/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <vector>

namespace forkbox::cli {

namespace {

std::optional<FileOwner> FindUser(const char* name) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 * 1024);
  if (::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return FileOwner{entry.pw_uid, entry.pw_gid};
}

}  // namespace

bool IsRoot() { return ::geteuid() == 0; }

Result<FileOwner> EnsureServiceUser() {
  std::optional<FileOwner> user = FindUser(kServiceUser);
  if (!user) {
    const std::array<const char*, 12> command{
        "useradd",    "--system",        "--user-group", "--no-create-home",
        "--home-dir", "/nonexistent",    "--shell",      "/usr/sbin/nologin",
        "--comment",  "forkbox service", kServiceUser,   nullptr};
    const std::array<const char*, 2> environment{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", nullptr};
    pid_t pid = 0;
    int status = -1;
    const int error =
        ::posix_spawn(&pid, "/usr/sbin/useradd", nullptr, nullptr,
                      const_cast<char**>(command.data()), const_cast<char**>(environment.data()));
    if (error == 0) {
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
    user = FindUser(kServiceUser);  // another start may have been quicker than ours
  }
  if (!user || user->uid == 0) {
    return Fail(ErrorCode::kUnavailable,
                std::string("cannot make the system user ") + kServiceUser +
                    "; make it with: useradd --system --user-group --shell /usr/sbin/nologin " +
                    kServiceUser);
  }
  return *user;
}

Result<void> DropPrivileges(const FileOwner& user) {
  // Past setresuid() nothing may set capabilities any more, so the bounding set goes first. Where
  // it may not be touched, no_new_privs makes it meaningless.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  if (::setgroups(0, nullptr) != 0) return FailErrno("setgroups");
  if (::setresgid(user.gid, user.gid, user.gid) != 0) return FailErrno("setresgid");
  if (::setresuid(user.uid, user.uid, user.uid) != 0) return FailErrno("setresuid");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno("PR_SET_NO_NEW_PRIVS");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FailErrno("PR_SET_DUMPABLE");

  uid_t uids[3] = {};
  gid_t gids[3] = {};
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0) return FailErrno("getresuid");
  if (::getresgid(&gids[0], &gids[1], &gids[2]) != 0) return FailErrno("getresgid");
  bool dropped =
      std::all_of(std::begin(uids), std::end(uids), [&](uid_t uid) { return uid == user.uid; }) &&
      std::all_of(std::begin(gids), std::end(gids), [&](gid_t gid) { return gid == user.gid; });
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return FailErrno("capget");
  for (const auto& set : data) dropped = dropped && set.effective == 0 && set.permitted == 0;
  dropped = dropped && ::setuid(0) != 0 && ::getgroups(0, nullptr) == 0;
  if (!dropped) return Fail(ErrorCode::kInternal, "privileges are still there after dropping them");
  return {};
}

std::size_t RaiseFileLimit(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1'024;
  if (limit.rlim_cur >= wanted) return limit.rlim_cur;
  rlimit raised = limit;
  raised.rlim_max = std::max<rlim_t>(limit.rlim_max, wanted);
  raised.rlim_cur = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return wanted;  // root may go beyond the hard one
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, wanted);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace forkbox::cli
