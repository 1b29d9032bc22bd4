#include "runner/sandbox/vm/live/privileges.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace forkbox::sandbox::vm {

bool GiveUpPrivileges(unsigned uid) {
  if (uid != 0 &&
      (::syscall(SYS_setresgid, uid, uid, uid) != 0 || ::syscall(SYS_setgroups, 0, nullptr) != 0 ||
       ::syscall(SYS_setresuid, uid, uid, uid) != 0)) {
    return false;
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2]{};
  if (::syscall(SYS_capset, &header, none) != 0) return false;
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // Nor can they be had back by execve(2).
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  // The change has taken it away (prctl(2)), and undone whether it may be looked into.
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace forkbox::sandbox::vm
