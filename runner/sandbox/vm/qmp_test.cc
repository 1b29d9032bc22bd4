#include "runner/sandbox/vm/qmp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/unique_fd.h"
#include "schema/json.h"

namespace forkbox::sandbox::vm {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

Deadline Soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(20); }
Deadline AlmostNow() { return std::chrono::steady_clock::now() + std::chrono::milliseconds(50); }

constexpr const char* kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}})"
    "\r\n";

class QmpTest : public ::testing::Test {
 protected:
  QmpTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_.Reset(ends[0]);
    qemus_.Reset(ends[1]);
  }
  ~QmpTest() override {
    ::shutdown(ours_.get(), SHUT_RDWR);
    if (qemu_.joinable()) qemu_.join();
  }
  void Say(const std::string& bytes) {
    (void)!::send(qemus_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // A QEMU of few words: for each line that it is told, with the id in it.
  void Answer(std::function<std::string(const json& command)> answer) {
    qemu_ = std::thread([this, answer = std::move(answer)] {
      std::string held;
      char byte = 0;
      while (::recv(qemus_.get(), &byte, 1, 0) == 1) {
        if (byte != '\n') {
          held += byte;
          continue;
        }
        const auto command = schema::ParseJson(held);
        held.clear();
        ASSERT_TRUE(command);
        Say(answer(*command));
      }
    });
  }

  UniqueFd ours_;
  UniqueFd qemus_;
  std::thread qemu_;
};

std::string Returned(const json& command, const json& value) {
  return json{{"return", value}, {"id", command["id"]}}.dump() + "\r\n";
}

TEST_F(QmpTest, CommandsAreAnsweredAndEventsSkipped) {
  Say(kGreeting);
  Answer([](const json& command) {
    const std::string event = R"({"event": "STOP", "timestamp": {"seconds": 1}})"
                              "\r\n";
    if (command["execute"] == "query-status") {
      return event + event + Returned(command, {{"status", "paused"}});
    }
    return Returned(command, json::object());
  });
  Qmp qmp(ours_.get());
  ASSERT_TRUE(qmp.Greet(Soon()));
  const auto status = qmp.Execute("query-status", nullptr, Soon());
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ((*status)["status"], "paused");
}

TEST_F(QmpTest, QemusErrorsAreOurs) {
  Say(kGreeting);
  Answer([](const json& command) {
    if (command["execute"] == "qmp_capabilities") return Returned(command, json::object());
    return json{{"error", {{"class", "GenericError"}, {"desc", "no " + std::string(900, 'x')}}},
                {"id", command["id"]}}
               .dump() +
           "\n";
  });
  Qmp qmp(ours_.get());
  ASSERT_TRUE(qmp.Greet(Soon()));
  const auto answer = qmp.Execute("migrate", {{"uri", "fd:6"}}, Soon());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kInternal);
  EXPECT_THAT(answer.error().message, HasSubstr("no x"));
  EXPECT_LT(answer.error().message.size(), 300U);
}

TEST_F(QmpTest, EventsAreAwaitedBehindAnswersToWhatWasSentAhead) {
  Say(std::string(kGreeting) + R"({"return": {}})" + "\r\n" +
      R"({"event": "MIGRATION", "data": {"status": "active"}})" + "\r\n" +
      R"({"event": "MIGRATION", "data": {"status": "completed"}})" + "\r\n");
  Qmp qmp(ours_.get());
  auto event = qmp.AwaitEvent("MIGRATION", Soon());
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)["status"], "active");
  event = qmp.AwaitEvent("MIGRATION", Soon());
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)["status"], "completed");

  Say(R"({"error": {"class": "GenericError", "desc": "cannot load"}})"
      "\r\n");
  event = qmp.AwaitEvent("MIGRATION", Soon());
  ASSERT_FALSE(event);
  EXPECT_THAT(event.error().message, HasSubstr("cannot load"));
}

// The far end may be whoever has taken QEMU over.
TEST_F(QmpTest, WhatIsNotQmpIsRefusedInTime) {
  struct Case {
    const char* what;
    std::string bytes;
  };
  std::string events;
  for (std::size_t i = 0; i < Qmp::kMaxLinesPerCall + 1; ++i) events += "{\"event\": \"STOP\"}\n";
  const std::vector<Case> cases = {
      {"no JSON", "hello\n"},
      {"no object", "[1]\n"},
      {"deep", std::string(60000, '[') + "\n"},
      {"a line without an end", std::string(Qmp::kMaxLine + 10, 'x')},
      {"events without an end", events},
      {"somebody else's answer", "{\"return\": {}, \"id\": 77}\n"},
      {"an answer to nobody", "{\"return\": {}}\n"},
      {"an answer without one", "{\"id\": 1}\n"},
      {"an error of another kind", "{\"error\": 7, \"id\": 1}\n"},
      {"an error without words", "{\"error\": {\"desc\": 5}, \"id\": 1}\n"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    ASSERT_EQ(::send(theirs.get(), one.bytes.data(), one.bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(one.bytes.size()));
    Qmp qmp(ours.get());
    const auto answer = qmp.Execute("query-status", nullptr, Soon());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  }
}

TEST_F(QmpTest, SilenceAndTheEndAreToldApart) {
  Qmp qmp(ours_.get());
  const auto silent = qmp.Execute("query-status", nullptr, AlmostNow());
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, ErrorCode::kDeadlineExceeded);
  qemus_.Reset();
  const auto gone = qmp.Execute("query-status", nullptr, Soon());
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forkbox::sandbox::vm
