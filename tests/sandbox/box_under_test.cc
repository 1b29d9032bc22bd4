#include "tests/sandbox/box_under_test.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <sstream>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int Left(steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(0, left.count()));
}

// False at the end of the stream.
bool Pump(const UniqueFd& pipe, std::string* text) {
  std::array<char, 64 * 1024> buffer;
  const ssize_t n = ::read(pipe.get(), buffer.data(), buffer.size());
  if (n > 0) text->append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

bool HasData(const UniqueFd& pipe) {
  pollfd polled{pipe.get(), POLLIN, 0};
  return pipe.valid() && ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLIN) != 0;
}

}  // namespace

std::string Describe(const Ended& ended) {
  std::ostringstream text;
  if (ended.exit_code) text << "exit " << *ended.exit_code;
  if (ended.signal) text << "signal " << *ended.signal;
  if (ended.lost) text << "lost";
  if (ended.timed_out) text << "timed out";
  text << "\nstdout: " << ended.out.substr(0, 4000) << "\nstderr: " << ended.err.substr(0, 4000);
  return text.str();
}

BoxProgram Shell(const std::string& script) {
  BoxProgram program;
  program.command = {"/bin/bash", "-c", script};
  return program;
}

Ended Finish(BoxProcess process, milliseconds patience) {
  Ended ended;
  process.stdin_pipe.Reset();
  const auto deadline = steady_clock::now() + patience;
  for (bool running = true; running;) {
    std::array<pollfd, 3> polled{{{process.status.get(), POLLIN, 0},
                                  {process.stdout_pipe.get(), POLLIN, 0},
                                  {process.stderr_pipe.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), Left(deadline)) <= 0) {
      if (errno == EINTR) continue;
      ended.timed_out = true;
      return ended;
    }
    if (polled[1].revents != 0 && !Pump(process.stdout_pipe, &ended.out)) {
      process.stdout_pipe.Reset();
    }
    if (polled[2].revents != 0 && !Pump(process.stderr_pipe, &ended.err)) {
      process.stderr_pipe.Reset();
    }
    if (polled[0].revents == 0) continue;
    running = false;
    StatusMessage message;
    const ssize_t n = RecvPacket(process.status.get(), &message, sizeof message, nullptr, nullptr);
    if (n != sizeof message || message.kind != StatusKind::kExited) {
      ended.lost = true;
    } else if (WIFSIGNALED(message.wait_status)) {
      ended.signal = WTERMSIG(message.wait_status);
    } else {
      ended.exit_code = WEXITSTATUS(message.wait_status);
    }
  }
  while (HasData(process.stdout_pipe) && Pump(process.stdout_pipe, &ended.out)) {
  }
  while (HasData(process.stderr_pipe) && Pump(process.stderr_pipe, &ended.err)) {
  }
  return ended;
}

Ended RunIn(Box& box, const BoxProgram& program) {
  auto process = box.Start(program);
  if (process) return Finish(std::move(*process));
  Ended ended;
  ended.err = "Start: " + process.error().message;
  return ended;
}

std::string ReadUntil(int fd, const std::string& text, milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  std::string got;
  while (got.find(text) == std::string::npos) {
    pollfd polled{fd, POLLIN, 0};
    if (::poll(&polled, 1, Left(deadline)) <= 0) return "";
    std::array<char, 4096> buffer;
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) return "";
    got.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return got;
}

}  // namespace forkbox::sandbox::testing
