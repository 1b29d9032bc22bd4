#include "runner/execd/ending.h"

#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <utility>

namespace forkbox::execd {
namespace {

// Go's syscall/zerrors_linux_amd64.go.
constexpr std::array<std::pair<int, std::string_view>, 31> kSignalNames{{
    {SIGHUP, "hangup"},
    {SIGINT, "interrupt"},
    {SIGQUIT, "quit"},
    {SIGILL, "illegal instruction"},
    {SIGTRAP, "trace/breakpoint trap"},
    {SIGABRT, "aborted"},
    {SIGBUS, "bus error"},
    {SIGFPE, "floating point exception"},
    {SIGKILL, "killed"},
    {SIGUSR1, "user defined signal 1"},
    {SIGSEGV, "segmentation fault"},
    {SIGUSR2, "user defined signal 2"},
    {SIGPIPE, "broken pipe"},
    {SIGALRM, "alarm clock"},
    {SIGTERM, "terminated"},
    {SIGSTKFLT, "stack fault"},
    {SIGCHLD, "child exited"},
    {SIGCONT, "continued"},
    {SIGSTOP, "stopped (signal)"},
    {SIGTSTP, "stopped"},
    {SIGTTIN, "stopped (tty input)"},
    {SIGTTOU, "stopped (tty output)"},
    {SIGURG, "urgent I/O condition"},
    {SIGXCPU, "CPU time limit exceeded"},
    {SIGXFSZ, "file size limit exceeded"},
    {SIGVTALRM, "virtual timer expired"},
    {SIGPROF, "profiling timer expired"},
    {SIGWINCH, "window changed"},
    {SIGIO, "I/O possible"},
    {SIGPWR, "power failure"},
    {SIGSYS, "bad system call"},
}};

std::string SignalName(int number) {
  for (const auto& [known, name] : kSignalNames) {
    if (known == number) return std::string(name);
  }
  return "signal " + std::to_string(number);
}

// 1500 of 1000 → "1.5".
std::string Decimal(std::int64_t value, std::int64_t unit) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%lld.%03lld", static_cast<long long>(value / unit),
                static_cast<long long>(value % unit));
  std::string decimal(text.data());
  while (decimal.back() == '0') decimal.pop_back();
  if (decimal.back() == '.') decimal.pop_back();
  return decimal;
}

}  // namespace

Ending DescribeWaitStatus(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {-1, "signal: " + SignalName(WTERMSIG(wait_status))};
  const int code = WEXITSTATUS(wait_status);
  if (code == 0) return {};
  return {code, "exit status " + std::to_string(code)};
}

Ending DescribeTimeout(std::chrono::milliseconds timeout) {
  return {-1, "timeout after " + DescribeDuration(timeout) + ": signal: killed"};
}

std::string DescribeDuration(std::chrono::milliseconds duration) {
  const std::int64_t ms = duration.count();
  if (ms < 1000) return std::to_string(ms) + "ms";
  std::string text;
  if (ms >= 3'600'000) text += std::to_string(ms / 3'600'000) + "h";
  if (ms >= 60'000) text += std::to_string(ms / 60'000 % 60) + "m";
  return text + Decimal(ms % 60'000, 1000) + "s";
}

}  // namespace forkbox::execd
