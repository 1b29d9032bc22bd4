// The driver as a user without any privileges: in user namespaces it still runs and isolates, and
// it says what it then cannot do. Where the host forbids user namespaces it says that.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <sstream>

#include "base/unique_fd.h"
#include "tests/sandbox/box_under_test.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;

constexpr uid_t kNobody = 65534;

// In a process of its own that is nobody: every failed expectation is a line in the result.
std::string AsNobody(const std::function<void(std::ostream&)>& story) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::ostringstream said;
    if (::geteuid() == 0 &&
        (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
         ::setresuid(kNobody, kNobody, kNobody) != 0)) {
      said << "cannot become nobody\n";
    } else {
      ::signal(SIGPIPE, SIG_IGN);
      ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // as after a start by that user
      story(said);
    }
    const std::string text = said.str();
    (void)!::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) text += "the process ended with status " + std::to_string(status) + "\n";
  return text;
}

// Some hosts forbid user namespaces; then it has to say so, not crash.
#define EXPECT_NOTHING_SAID(said)                                                  \
  if ((said).find("start: clone the forkserver") == 0) {                           \
    GTEST_SKIP() << (said) << "(user namespaces are off on this host: sysctl "     \
                 << "user.max_user_namespaces, kernel.unprivileged_userns_clone)"; \
  }                                                                                \
  EXPECT_EQ((said), "")

TEST(Rootless, RunsAndIsolatesAndSaysWhatIsMissing) {
  const std::string said = AsNobody([](std::ostream& out) {
    auto driver = StartProcessDriver(TestOptions(1));
    if (!driver) {
      out << "start: " << driver.error().message << "\n";
      return;
    }
    const auto expect = [&](bool good, const std::string& what) {
      if (!good) out << what << "\n";
    };
    const auto missing = (*driver)->MissingProtections();
    std::string all;
    for (const auto& one : missing) all += one + "; ";
    expect(all.find("a uid of its own") != std::string::npos, "not said: own uids: " + all);
    expect(all.find("memory limits") != std::string::npos, "not said: memory limits: " + all);
    expect(all.find("process limits") != std::string::npos, "not said: process limits: " + all);
    expect(all.find("limits of processor time") != std::string::npos,
           "not said: processor time: " + all);

    for (const LanguageStatus& status : (*driver)->Languages()) {
      if (status.id == "python" || status.id == "bash")
        expect(status.ready, status.id + ": " + status.reason);
    }
    Job hello = Python("import os, sys\nprint('hello')\nsys.exit(3)");
    Outcome outcome = RunJob(**driver, hello);
    expect(outcome.stdout_text == "hello\n" && outcome.exit_code == 3, Describe(outcome));

    Job pooled = Bash("echo $((6*7)); echo x > /tmp/f; cat /tmp/f");
    outcome = RunJob(**driver, pooled);
    expect(outcome.stdout_text == "42\nx\n", Describe(outcome));

    Job sleeping = Bash("sleep 1000 & sleep 1000");
    sleeping.limits.wall = 1s;
    outcome = RunJob(**driver, sleeping);
    expect(outcome.reason == Reason::kWallTimeout, Describe(outcome));

    // Nobody counts its processor time, and that is said above; the wall limit holds.
    Job busy = Python("while True: pass");
    busy.limits.wall = 1s;
    outcome = RunJob(**driver, busy);
    expect(outcome.reason == Reason::kWallTimeout, Describe(outcome));

    Job disk = Python(
        "try:\n    open('f', 'wb').write(b'x' * 100_000_000)\nexcept OSError as e: print(e.errno)");
    disk.limits.disk_bytes = 8 << 20;
    outcome = RunJob(**driver, disk);
    expect(outcome.stdout_text == "28\n", Describe(outcome));

    // Boxes, with all that the host gives without privileges.
    if (auto box = (*driver)->OpenBox({}); box) {
      Ended ended = RunIn(**box, "echo box > f; exit 4");
      expect(ended.exit_code == 4, Describe(ended));
      ended = RunIn(**box, "kill -9 -1; cat f; python3 -c 'import os; print(os.openpty())'");
      expect(ended.out == "box\n(3, 4)\n", Describe(ended));
      (*box)->End();
    } else {
      out << "box: " << box.error().message << "\n";
    }

    // No network, no host, no other processes, no capabilities, no way to get them.
    Job caged = Python(
        "import os, socket\n"
        "print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[0], "
        "os.path.exists('/etc/shadow'), os.listdir('/root') != [],"
        " os.path.exists('/sys/fs'))\n"
        "status = open('/proc/self/status').read()\n"
        "print([l for l in status.splitlines() if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs', "
        "'Seccomp:'))])\n"
        "for act in (lambda: socket.create_connection(('8.8.8.8', 53), 1), lambda: os.kill(1, 9), "
        "lambda: open('/proc/1/environ').read(),"
        " lambda: open('/proc/1/mem', 'rb'), lambda: open('/usr/new', 'w'), lambda: "
        "os.chroot('/tmp'), lambda: os.mkdir('/new')):\n"
        "    try: act(); print('done')\n"
        "    except OSError: print('refused')\n"
        "print(os.path.exists('/proc/1'))\n");
    outcome = RunJob(**driver, caged);
    std::istringstream lines(outcome.stdout_text);
    std::string line;
    std::getline(lines, line);
    expect(line == "1 False False False", Describe(outcome));
    std::getline(lines, line);
    expect(line ==
               "['CapEff:\\t0000000000000000', 'CapBnd:\\t0000000000000000', 'NoNewPrivs:\\t1', "
               "'Seccomp:\\t2']",
           Describe(outcome));
    // A signal to pid 1 of one's own uid is allowed, and ignored.
    const std::string rest(std::istreambuf_iterator<char>(lines), {});
    expect(rest == "refused\ndone\nrefused\nrefused\nrefused\nrefused\nrefused\nTrue\n",
           Describe(outcome));

    LeftoversProbe probe(**driver);
    outcome = RunJob(**driver, Bash("setsid sleep 1000 & echo left"));
    expect(outcome.stdout_text == "left\n", Describe(outcome));
    const std::string left = probe.WaitUntilClean();
    expect(left.empty(), left);
  });
  EXPECT_NOTHING_SAID(said);
}

// The next fork of a template, held where it has given up every privilege and nothing yet keeps it
// from the kernel's doors: at its entry to seccomp(2). -1 if it never came there.
pid_t HoldBeforeTheFilter(pid_t template_pid) {
  int status = 0;
  unsigned long child = 0;
  if (::waitpid(template_pid, &status, __WALL) != template_pid ||
      status >> 8 != (SIGTRAP | PTRACE_EVENT_FORK << 8) ||
      ::ptrace(PTRACE_GETEVENTMSG, template_pid, nullptr, &child) != 0 ||
      ::ptrace(PTRACE_DETACH, template_pid, nullptr, nullptr) != 0) {
    return -1;
  }
  const auto pid = static_cast<pid_t>(child);
  for (;;) {
    if (::waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return -1;
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 &&
        info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_seccomp) {
      return pid;
    }
    if (::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) != 0) return -1;
  }
}

// All in a box are one user here. What has neither capabilities nor a filter yet is nobody's to
// look into, nor to write into, which a read-only /proc alone would forbid.
TEST(Rootless, NobodyReachesANeighbourBeforeItsFilterIsThere) {
  const std::string said = AsNobody([](std::ostream& out) {
    ProcessDriverOptions options = TestOptions(0);
    options.only_language = "bash";
    auto driver = StartProcessDriver(options);
    if (!driver) {
      out << "start: " << driver.error().message << "\n";
      return;
    }
    auto box = (*driver)->OpenBox({});
    if (!box) {
      out << "box: " << box.error().message << "\n";
      return;
    }
    BoxProgram spying;
    spying.command = {"/usr/bin/python3", "-uc",
                      "import os\n"
                      "def reached(pid):\n"
                      "  try: os.close(os.open(f'/proc/{pid}/mem', os.O_RDONLY))\n"
                      "  except OSError: return False\n"
                      "  return True\n"
                      "while input():\n"
                      "  pids = {int(p) for p in os.listdir('/proc') if p.isdigit()}\n"
                      "  pids -= {1, os.getpid()}\n"
                      "  print(len(pids), 'reached', len([p for p in pids if reached(p)]))\n"};
    auto spy = (*box)->Start(spying);
    if (!spy) {
      out << "spy: " << spy.error().message << "\n";
      return;
    }
    const auto look = [&] {
      (void)!::write(spy->stdin_pipe.get(), "look\n", 5);
      return ReadUntil(spy->stdout_pipe.get(), "\n");
    };
    const std::vector<pid_t> templates = TemplatesOf((*driver)->forkserver_pid());
    if (templates.size() != 1 || ::ptrace(PTRACE_SEIZE, templates[0], nullptr,
                                          PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD) != 0) {
      out << "cannot trace the template: " << std::strerror(errno) << "\n";
      return;
    }
    auto start =
        std::async(std::launch::async, [&] { return (*box)->Start(Shell("echo up; read line")); });
    const pid_t held = HoldBeforeTheFilter(templates[0]);
    if (held < 0) {
      out << "was not held before its filter\n";
    } else {
      if (const std::string seen = look(); seen != "1 reached 0\n") out << "before: " << seen;
      ::ptrace(PTRACE_DETACH, held, nullptr, nullptr);
    }
    auto neighbour = start.get();
    if (!neighbour) {
      out << "neighbour: " << neighbour.error().message << "\n";
      return;
    }
    if (ReadUntil(neighbour->stdout_pipe.get(), "up\n").empty()) out << "neighbour: not up\n";
    // Afterwards it may, where the host has no rule against it (Yama): there is no wall between
    // them.
    if (std::filesystem::exists("/proc/sys/kernel/yama/ptrace_scope")) return;
    if (const std::string seen = look(); seen != "1 reached 1\n") out << "after: " << seen;
  });
  EXPECT_NOTHING_SAID(said);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
