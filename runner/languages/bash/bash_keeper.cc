#include "runner/languages/bash/bash_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "runner/languages/bash/process_tree.h"

namespace forkbox::languages {
namespace {

using nlohmann::json;

// Where bash tells us what it has done: out of the way of what programs choose themselves.
// Named again in the commands below.
constexpr int kReportFd = 199;
constexpr std::size_t kMaxReportBytes = 64;
constexpr int kMaxDeathsInARow = 3;
constexpr int kMaxKillRounds = 16;
constexpr std::chrono::milliseconds kKillPause{2};
constexpr std::chrono::seconds kSendPatience{30};
constexpr int kWakeAgainMs = 20;
constexpr int kDeafLookMs = 100;
constexpr int kMaxDeafLooks = 10;

// The names of builtins are said with `builtin`, since a session may define functions of the same
// names; standard error is away meanwhile, so that `set -x` shows as little of us as possible.

// The spare is made by a subshell that ends at once, so that the live bash has no job for it and
// keeps its $!. Its stdin is given, since bash would take /dev/null for a job in the background. It
// stops itself; when it goes on it takes back what bash takes from a subshell (traps) or gives to
// it (SIGINT and SIGQUIT ignored), and reads the same script from there on. `break` in a run ends
// the inner loop, and the outer one begins it again. After `set -n` no command would end
// the loops, but arithmetic is done all the same: "1…" is a number, "n1…" the variable that nobody
// has set.
constexpr std::string_view kSpareCommand =
    "{ ( ( builtin printf 'spare %d\\n' \"$BASHPID\" >&199; builtin kill -STOP \"$BASHPID\"; "
    "__forkbox=$(builtin trap -p); builtin trap - INT QUIT; builtin eval \"$__forkbox\"; "
    "builtin unset -v __forkbox; builtin printf 'taken\\n' >&199; exec 2>&198 198>&-; "
    "for ((; ${-//[!n]}1000000007;)); do for ((; ${-//[!n]}1000000007;)); do "
    "builtin read -r __forkbox_line || builtin exit; "
    "builtin eval \"$__forkbox_line\"; done; done ) <&0 & ); "
    "builtin printf 'ready\\n' >&199; } 198>&2 2>/dev/null\n";

// Aliases are of no use in a session that does not expand them.
constexpr std::string_view kFirstCommand = "builtin shopt -s expand_aliases\n";

// The code comes after this line, counted in bytes. Exported by `set -a`, it would not fit.
std::string ReadCodeCommand(std::size_t bytes) {
  return "{ LC_ALL=C builtin read -r -N " + std::to_string(bytes) +
         " __forkbox; builtin export -n __forkbox; } 2>/dev/null\n";
}

// At the top level: not in a loop or function, where `break`, `declare` and `return` mean something
// else. The empty line sets bash's parser right after a code with an open quote.
constexpr std::string_view kRunCommand =
    "builtin eval \"$__forkbox\" </dev/null 199>&-; __forkbox=$?\n\n"
    "{ builtin printf 'done %d\\n' \"$__forkbox\" >&199; builtin unset -v __forkbox; } "
    "2>/dev/null\n";

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) c == '\'' ? quoted += "'\\''" : quoted += c;
  return quoted + "'";
}

std::string TextOf(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool NewPipe(UniqueFd* in, UniqueFd* out) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  in->Reset(ends[0]);
  out->Reset(ends[1]);
  return true;
}

void SetNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

sigset_t OurSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  ::sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

bool BashKeeper::Prepare() {
  ::signal(SIGPIPE, SIG_IGN);
  ::fcntl(channel_, F_SETFD, FD_CLOEXEC);
  const sigset_t ours = OurSignals();
  ::sigprocmask(SIG_BLOCK, &ours, nullptr);
  signals_.Reset(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  // What loses its parent becomes our child: so we see the spare end, and can find the rest.
  if (!signals_ || ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return false;
  if (!NewPipe(&commands_in_, &commands_out_) || !NewPipe(&reports_in_, &reports_out_)) {
    return false;
  }
  SetNonBlocking(commands_out_.get());
  SetNonBlocking(reports_in_.get());
  return true;
}

bool BashKeeper::Spawn() {
  const pid_t keeper = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return false;
  if (pid == 0) {
    ::setpgid(0, 0);  // `kill 0` in a run does not mean us
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != keeper) ::_exit(1);
    const sigset_t ours = OurSignals();
    ::sigprocmask(SIG_UNBLOCK, &ours, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::dup2(commands_in_.get(), STDIN_FILENO);
    ::dup2(reports_out_.get(), kReportFd);
    ::execl("/bin/bash", "bash", "--norc", "--noprofile", "-s", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::setpgid(pid, pid);  // whoever of the two is first
  live_ = pid;
  commands_ += kFirstCommand;
  QueueSpare();
  return true;
}

void BashKeeper::QueueSpare() { commands_ += kSpareCommand; }

int BashKeeper::Run() {
  if (!Prepare() || !Spawn()) {
    std::fprintf(stderr, "bash: %s\n", std::strerror(errno));
    return 70;
  }
  Send({{"ev", "ready"}, {"pid", ::getpid()}, {"forks", false}});
  for (;;) {
    std::array<pollfd, 4> polled{{{channel_, POLLIN, 0},
                                  {signals_.get(), POLLIN, 0},
                                  {reports_in_.get(), POLLIN, 0},
                                  {commands_.empty() ? -1 : commands_out_.get(), POLLOUT, 0}}};
    const int patience = taking_over_ ? kWakeAgainMs : running_ ? kDeafLookMs : -1;
    const int ready = ::poll(polled.data(), polled.size(), patience);
    if (ready < 0 && errno != EINTR) return 70;
    if (ready == 0 && running_ && !taking_over_) LookForDeafness();
    // It may have been told to go on just before it stopped.
    if (taking_over_) ::kill(live_, SIGCONT);
    if (ready <= 0) continue;
    // What bash said before it died counts.
    if (polled[2].revents != 0) ReadReports();
    if (polled[1].revents != 0) {
      TakeSignals();
      if (!Bury()) return 70;
    }
    if (polled[3].revents != 0) WriteCommands();
    if (polled[0].revents != 0 && !ReadChannel()) break;
  }
  if (running_) KillRun();
  ::kill(live_, SIGKILL);
  if (spare_ > 0) ::kill(spare_, SIGKILL);
  return 0;
}

bool BashKeeper::ReadChannel() {
  std::array<char, 65536> piece;  // NOLINT: filled by recv
  const ssize_t n = ::recv(channel_, piece.data(), piece.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  frames_.Append({piece.data(), static_cast<std::size_t>(n)});
  for (;;) {
    json message;
    switch (frames_.Next(&message)) {
      case execd::FrameReader::Step::kFrame:
        TakeRequest(message);
        break;
      case execd::FrameReader::Step::kNeedMore:
        return true;
      case execd::FrameReader::Step::kBroken:
        return false;
    }
  }
}

void BashKeeper::TakeRequest(const json& message) {
  const std::string op = TextOf(message, "op");
  if (op == "run" && !running_) BeginRun(TextOf(message, "code"), TextOf(message, "cwd"));
  if (op == "kill" && running_) KillRun();
  // Nobody can give descriptors to a bash that runs.
  if (op == "fork") Send({{"ev", "fork_failed"}, {"message", "bash cannot be copied"}});
}

void BashKeeper::BeginRun(std::string code, const std::string& cwd) {
  std::erase(code, '\0');  // bash passes over them, and would wait for so many bytes more
  running_ = true;
  killing_ = false;
  deaf_ = false;
  deaf_looks_ = 0;
  ++count_;
  earlier_ = ChildrenOf(live_);
  const std::vector<pid_t> ours = ChildrenOf(::getpid());
  earlier_.insert(earlier_.end(), ours.begin(), ours.end());
  commands_ += ReadCodeCommand(code.size());
  commands_ += code;
  if (!cwd.empty()) commands_ += "builtin cd -- " + Quoted(cwd) + " && ";
  commands_ += kRunCommand;
  WriteCommands();
}

void BashKeeper::FinishRun(int exit_code, int signal, bool fresh) {
  running_ = false;
  if (exit_code != 0) {
    std::string how = "exit status " + std::to_string(exit_code);
    if (signal != 0) how = "signal: " + std::string(::strsignal(signal));
    Send({{"ev", "error"},
          {"ename", "ExitError"},
          {"evalue", std::to_string(exit_code)},
          {"traceback", {fresh ? how + "; the state of the session was lost" : how}}});
  }
  Send({{"ev", "done"},
        {"count", count_},
        {"exit_code", exit_code},
        {"signal", signal},
        {"fresh", fresh}});
}

// Not by process group: what earlier runs have put into the background is to live.
void BashKeeper::KillRun() {
  killing_ = true;
  ::kill(live_, SIGSTOP);
  KillStrays();
  ::kill(live_, SIGKILL);
}

// Bash reads byte by byte, so what comes after the code is in the pipe until the code is done, and
// its end is told at once. After `set -n` bash reads on, does nothing, and nothing can undo that.
void BashKeeper::LookForDeafness() {
  int waiting = 0;
  ::ioctl(commands_in_.get(), FIONREAD, &waiting);
  deaf_looks_ = waiting == 0 && commands_.empty() ? deaf_looks_ + 1 : 0;
  if (deaf_looks_ < kMaxDeafLooks || killing_) return;
  deaf_ = true;
  KillRun();
}

void BashKeeper::KillStrays() {
  const auto of_this_run = [&](pid_t pid) {
    return pid != live_ && pid != spare_ && pid != announced_ &&
           std::ranges::find(earlier_, pid) == earlier_.end();
  };
  // What is killed gives us its children, and one that forks as we look is found the next time.
  for (int round = 0; round < kMaxKillRounds; ++round) {
    const std::vector<pid_t> victims = DescendantsOf({live_, ::getpid()}, of_this_run);
    if (victims.empty()) return;
    for (const pid_t pid : victims) ::kill(pid, SIGSTOP);
    for (const pid_t pid : victims) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(kKillPause);
    for (const pid_t pid : victims) ::waitpid(pid, nullptr, WNOHANG);
  }
}

void BashKeeper::ReadReports() {
  std::array<char, 4096> piece;  // NOLINT: filled by read
  for (;;) {
    const ssize_t n = ::read(reports_in_.get(), piece.data(), piece.size());
    if (n <= 0) return;
    for (const char c : std::string_view(piece.data(), static_cast<std::size_t>(n))) {
      if (c == '\n') {
        TakeReport(std::exchange(reports_, {}));
      } else if (reports_.size() < kMaxReportBytes) {
        reports_ += c;
      }
    }
  }
}

void BashKeeper::TakeReport(std::string_view line) {
  int number = 0;
  const std::string text(line);
  if (std::sscanf(text.c_str(), "spare %d", &number) == 1) {
    announced_ = number > 1 ? number : -1;
    Promote();
  } else if (text == "ready") {
    deaths_in_a_row_ = 0;
    Promote();
  } else if (text == "taken") {
    taking_over_ = false;
  } else if (std::sscanf(text.c_str(), "done %d", &number) == 1 && running_) {
    FinishRun(number & 0xff, 0, false);
    QueueSpare();
    WriteCommands();
  }
}

// The spare and the live bash speak in any order; the last of the two finds the spare a child of
// ours, whose parent has gone. Its group is its own, so that `kill -9 0` in a run leaves it alone.
void BashKeeper::Promote() {
  if (announced_ <= 0 || announced_ == live_ || ::setpgid(announced_, announced_) != 0) return;
  if (spare_ > 0 && spare_ != announced_) ::kill(spare_, SIGKILL);
  spare_ = std::exchange(announced_, -1);
}

void BashKeeper::TakeSignals() {
  signalfd_siginfo info;  // NOLINT: filled by read
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGINT && running_) ::kill(-live_, SIGINT);
  }
}

bool BashKeeper::Bury() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return true;
    if (pid == spare_) spare_ = -1;
    if (pid == announced_) announced_ = -1;
    if (pid != live_) continue;
    ReadReports();
    if (!ReplaceLive(status)) return false;
  }
}

bool BashKeeper::ReplaceLive(int wait_status) {
  DropCommands();
  if (killing_) KillStrays();
  killing_ = false;
  const bool fresh = spare_ <= 0;
  const bool was_running = running_;
  if (fresh) {
    taking_over_ = false;
    if (++deaths_in_a_row_ > kMaxDeathsInARow || !Spawn()) return false;
  } else {
    live_ = std::exchange(spare_, -1);
    taking_over_ = true;
    ::kill(live_, SIGCONT);
    QueueSpare();
  }
  if (was_running) {
    // As a script that has said `set -n` ends.
    if (std::exchange(deaf_, false)) wait_status = 0;
    const bool signalled = WIFSIGNALED(wait_status);
    FinishRun(signalled ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status),
              signalled ? WTERMSIG(wait_status) : 0, fresh);
  }
  WriteCommands();
  return true;
}

void BashKeeper::WriteCommands() {
  while (!commands_.empty()) {
    const ssize_t n = ::write(commands_out_.get(), commands_.data(), commands_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    commands_.erase(0, static_cast<std::size_t>(n));
  }
}

// What the dead bash has not read is not for the next one.
void BashKeeper::DropCommands() {
  commands_.clear();
  int waiting = 0;
  ::ioctl(commands_in_.get(), FIONREAD, &waiting);
  std::array<char, 4096> piece;  // NOLINT: filled by read
  while (waiting > 0) {
    const auto most = std::min<std::size_t>(piece.size(), static_cast<std::size_t>(waiting));
    const ssize_t n = ::read(commands_in_.get(), piece.data(), most);
    if (n <= 0) return;
    waiting -= static_cast<int>(n);
  }
}

void BashKeeper::Send(const json& message) {
  (void)execd::SendFrame(channel_, message, std::chrono::steady_clock::now() + kSendPatience);
}

}  // namespace forkbox::languages
