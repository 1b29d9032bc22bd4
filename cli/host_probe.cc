#include "cli/host_probe.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>
#include <utility>

#include "base/unique_fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace forkbox::cli {

namespace {

// Runs `attempt` in a child and returns the errno it ended with, 0 for success. A child that hangs
// is ended by its alarm, which is ETIME here.
int Try(const std::function<int()>& attempt) {
  const pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(3);
    ::_exit(attempt() & 0xff);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : ETIME;
}

std::string ErrorText(int error) { return error == 0 ? "works" : std::strerror(error); }

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void ProbeIdentity(std::vector<Check>& checks) {
  const bool root = ::geteuid() == 0;
  checks.push_back({"privileges", "root", root ? Finding::kYes : Finding::kOptional,
                    root ? "started as root; serves as an unprivileged user"
                         : "user " + std::to_string(::geteuid()) + ": user namespaces instead",
                    root ? "" : "start as root for uids of their own and cgroup limits"});
  utsname name{};
  ::uname(&name);
  checks.push_back(
      {"host", "kernel", Finding::kYes, std::string(name.release) + " " + name.machine, ""});
  std::ifstream meminfo("/proc/meminfo");
  std::string word;
  long total_kb = 0;
  while (meminfo >> word) {
    if (word == "MemTotal:") {
      meminfo >> total_kb;
      break;
    }
  }
  checks.push_back({"host", "size", Finding::kYes,
                    std::to_string(std::thread::hardware_concurrency()) + " cores, " +
                        std::to_string(total_kb / 1024) + " MiB memory",
                    ""});
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const bool enough = files.rlim_max >= 16'384 || root;
  checks.push_back({"host", "open files", enough ? Finding::kYes : Finding::kOptional,
                    "limit " + std::to_string(files.rlim_cur) + ", may be raised to " +
                        (root ? "any" : std::to_string(files.rlim_max)),
                    enough ? "" : "raise `ulimit -Hn` for many connections"});
}

void ProbeNamespaces(std::vector<Check>& checks) {
  const bool root = ::geteuid() == 0;
  const std::pair<const char*, int> kinds[] = {
      {"user", CLONE_NEWUSER},     {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
      {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},  {"network", CLONE_NEWNET},
      {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};
  for (const auto& [name, flag] : kinds) {
    // Without root each of the others comes together with a user namespace, or not at all.
    const int wanted = root ? flag : flag | CLONE_NEWUSER;
    const int error = Try([wanted] { return ::unshare(wanted) == 0 ? 0 : errno; });
    const bool needed =
        flag == CLONE_NEWUSER ? !root : flag != CLONE_NEWCGROUP && flag != CLONE_NEWTIME;
    std::string remedy;
    if (error != 0 && needed) {
      remedy = root ? "in a container: give it CAP_SYS_ADMIN and a seccomp profile that allows "
                      "unshare(2)"
                    : "sysctl kernel.unprivileged_userns_clone=1 (and on Ubuntu "
                      "kernel.apparmor_restrict_unprivileged_userns=0), or start as root";
    }
    checks.push_back({"namespaces", name,
                      error == 0 ? Finding::kYes : (needed ? Finding::kNo : Finding::kOptional),
                      ErrorText(error), remedy});
  }
}

// Where each controller is to be had: "v2" or "v1", and the directory.
struct CgroupMount {
  bool v2 = false;
  std::string path;
  std::string controllers;  // with spaces around each
};

std::vector<CgroupMount> CgroupMounts() {
  std::vector<CgroupMount> mounts;
  std::ifstream info("/proc/self/mountinfo");
  std::string line;
  while (std::getline(info, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash));
    std::istringstream after(line.substr(dash + 3));
    std::string skip, path, type, source, options;
    before >> skip >> skip >> skip >> skip >> path;
    after >> type >> source >> options;
    if (type == "cgroup2") {
      mounts.push_back({true, path, " " + FirstLine(path + "/cgroup.controllers") + " "});
    } else if (type == "cgroup") {
      std::replace(options.begin(), options.end(), ',', ' ');
      mounts.push_back({false, path, " " + options + " "});
    }
  }
  return mounts;
}

// The directory of our own group, below which sandboxes get theirs: a service may make groups there
// and not at the top.
std::string OwnGroup(const CgroupMount& mount, const std::string& controller) {
  std::ifstream groups("/proc/self/cgroup");  // number:controllers:path, without names for v2
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (mount.v2 ? names != ",," : names.find("," + controller + ",") == std::string::npos)
      continue;
    const std::string path = line.substr(second + 1);
    if (path != "/" && ::access((mount.path + path).c_str(), F_OK) == 0) return mount.path + path;
  }
  return mount.path;
}

void ProbeCgroups(std::vector<Check>& checks) {
  const std::vector<CgroupMount> mounts = CgroupMounts();
  const bool v1 = std::any_of(mounts.begin(), mounts.end(), [](const auto& m) { return !m.v2; });
  const bool v2 = std::any_of(mounts.begin(), mounts.end(), [](const auto& m) { return m.v2; });
  const char* layout = v1 && v2 ? "hybrid: v1 and v2" : v2 ? "v2" : v1 ? "v1" : "none mounted";
  checks.push_back({"cgroups", "layout", v1 || v2 ? Finding::kYes : Finding::kNo, layout,
                    v1 || v2 ? "" : "mount cgroup2 on /sys/fs/cgroup"});
  const std::pair<const char*, const char*> wanted[] = {
      {"memory", "memory limits and out-of-memory as a reason"},
      {"pids", "process limits over a whole sandbox"},
      {"cpu", "CPU time of a whole sandbox"}};
  for (const auto& [controller, purpose] : wanted) {
    Check check{"cgroups", controller, Finding::kNo, "no such controller",
                std::string("needed for ") + purpose};
    for (const CgroupMount& mount : mounts) {
      const std::string word =
          std::string(controller) == "cpu" && !mount.v2 ? "cpuacct" : controller;
      if (mount.controllers.find(" " + word + " ") == std::string::npos) continue;
      // A directory of our own, made and removed again: the only proof that it can be used.
      const std::string group = OwnGroup(mount, word);
      const std::string probe = group + "/forkbox-probe-" + std::to_string(::getpid());
      const int error = ::mkdir(probe.c_str(), 0700) == 0 ? 0 : errno;
      if (error == 0) ::rmdir(probe.c_str());
      check.detail = std::string(mount.v2 ? "v2" : "v1") + " at " + group + ", " +
                     (error == 0 ? "usable" : "cannot make a group: " + ErrorText(error));
      check.finding = error == 0 ? Finding::kYes : Finding::kNo;
      if (error == 0) {
        check.remedy.clear();
      } else {
        check.remedy += ::geteuid() == 0 ? "; mount the cgroup tree writable"
                                         : "; start as root, or have a group delegated to you";
      }
      break;
    }
    checks.push_back(std::move(check));
  }
}

void ProbeSeccomp(std::vector<Check>& checks) {
  const int error = Try([] {
    std::uint32_t action = SECCOMP_RET_ERRNO;
    return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
  });
  checks.push_back({"seccomp", "filters", error == 0 ? Finding::kYes : Finding::kNo,
                    ErrorText(error), error == 0 ? "" : "needs a kernel with SECCOMP_FILTER"});
}

}  // namespace

std::vector<Check> ProbeHost() {
  std::vector<Check> checks;
  ProbeIdentity(checks);
  ProbeNamespaces(checks);
  ProbeCgroups(checks);
  ProbeSeccomp(checks);
  return checks;
}

}  // namespace forkbox::cli
