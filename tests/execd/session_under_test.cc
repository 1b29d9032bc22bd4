#include "tests/execd/session_under_test.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "runner/sandbox/protocol.h"

namespace forkbox::execd::testing {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

// Of anything that has to come.
constexpr std::chrono::seconds kPatience{60};

// What there is; false at its end.
bool ReadSome(int fd, std::string* text) {
  std::array<char, 65536> buffer{};
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) text->append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0;
}

}  // namespace

Result<std::unique_ptr<SessionUnderTest>> SessionUnderTest::Start(sandbox::Box& box,
                                                                  const std::string& language) {
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kSession;
  program.language = language;
  auto process = box.Start(program);
  if (!process) return Fail(process.error());
  std::unique_ptr<SessionUnderTest> session(new SessionUnderTest(box));
  session->process_ = std::move(*process);
  session->process_.stdin_pipe.Reset();
  const auto deadline = steady_clock::now() + kPatience;
  for (;;) {
    const auto step = session->frames_.Next(&session->ready_);
    if (step == FrameReader::Step::kFrame) return session;
    if (step == FrameReader::Step::kBroken || steady_clock::now() > deadline ||
        !session->Read(1000)) {
      return Fail(ErrorCode::kUnavailable, "not ready: " + session->out_ + session->err_);
    }
  }
}

bool SessionUnderTest::Read(int timeout_ms) {
  std::array<pollfd, 3> polled{
      {{ended_ ? -1 : process_.channel.get(), POLLIN, 0},
       {process_.stdout_pipe.valid() ? process_.stdout_pipe.get() : -1, POLLIN, 0},
       {process_.stderr_pipe.valid() ? process_.stderr_pipe.get() : -1, POLLIN, 0}}};
  ::poll(polled.data(), polled.size(), timeout_ms);
  if (polled[1].revents != 0 && !ReadSome(process_.stdout_pipe.get(), &out_)) {
    process_.stdout_pipe.Reset();
  }
  if (polled[2].revents != 0 && !ReadSome(process_.stderr_pipe.get(), &err_)) {
    process_.stderr_pipe.Reset();
  }
  if (polled[0].revents != 0) {
    std::string bytes;
    ended_ = !ReadSome(process_.channel.get(), &bytes);
    frames_.Append(bytes);
  }
  return !ended_;
}

void SessionUnderTest::Send(const std::string& code) {
  const auto sent = SendFrame(process_.channel.get(), {{"op", "run"}, {"code", code}},
                              steady_clock::now() + kPatience);
  EXPECT_TRUE(sent) << sent.error().message;
}

CellOutcome SessionUnderTest::Finish() {
  CellOutcome outcome;
  const auto deadline = steady_clock::now() + kPatience;
  bool done = false;
  while (!done && !outcome.died) {
    json message;
    const auto step = frames_.Next(&message);
    if (step == FrameReader::Step::kBroken) {
      ADD_FAILURE() << "broken frame";
      outcome.died = true;
    } else if (step == FrameReader::Step::kNeedMore) {
      if (steady_clock::now() > deadline) {
        ADD_FAILURE() << "the cell does not end";
        outcome.died = true;
      } else if (!Read(1000)) {
        outcome.died = frames_.Next(&message) != FrameReader::Step::kFrame;
      }
    }
    if (message.is_null()) continue;
    const std::string event = message.value("ev", "");
    if (event == "done") {
      outcome.count = message.value("count", 0);
      done = true;
      continue;
    }
    outcome.order.push_back(event);
    if (event == "result" || event == "display") outcome.result = message["data"];
    if (event == "error") {
      outcome.ename = message.value("ename", "");
      outcome.evalue = message.value("evalue", "");
      for (const auto& line : message["traceback"]) {
        outcome.traceback += line.get<std::string>() + "\n";
      }
    }
  }
  // What it wrote is in the pipes by now.
  for (std::size_t before = 0; before != out_.size() + err_.size() + 1;) {
    before = out_.size() + err_.size() + 1;
    Read(0);
    if (!process_.stdout_pipe.valid() && !process_.stderr_pipe.valid()) break;
  }
  outcome.out = std::exchange(out_, {});
  outcome.err = std::exchange(err_, {});
  return outcome;
}

CellOutcome SessionUnderTest::Run(const std::string& code) {
  Send(code);
  return Finish();
}

bool SessionUnderTest::WaitForOutput(const std::string& text) {
  const auto deadline = steady_clock::now() + kPatience;
  while ((out_ + err_).find(text) == std::string::npos) {
    if (steady_clock::now() > deadline || !Read(1000)) return false;
  }
  return true;
}

void SessionUnderTest::Interrupt() {
  // The whole group, as Contexts do.
  (void)OutputOf(box_, "kill -INT -- -" + std::to_string(process_.pid));
}

std::optional<int> SessionUnderTest::Exit() {
  pollfd polled{process_.status.get(), POLLIN, 0};
  if (::poll(&polled, 1, 30'000) <= 0) return std::nullopt;
  sandbox::StatusMessage message;
  if (::read(process_.status.get(), &message, sizeof message) != sizeof message ||
      message.kind != sandbox::StatusKind::kExited) {
    return std::nullopt;
  }
  return message.wait_status;
}

std::string OutputOf(sandbox::Box& box, const std::string& shell_command) {
  sandbox::BoxProgram program;
  program.command = {"/bin/bash", "-c", shell_command};
  auto process = box.Start(program);
  if (!process) return "error: " + process.error().message;
  std::string text;
  while (ReadSome(process->stdout_pipe.get(), &text)) {
  }
  return text;
}

}  // namespace forkbox::execd::testing
