// What the forks of a template are believed, and what not. The machines are threads on sockets.
#include "runner/sandbox/vm/proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "runner/sandbox/vm/agent_protocol.h"

namespace forkbox::sandbox::vm {
namespace {

using testing::HasSubstr;

// What the machines of a source show, the first and the second of a kind in turn.
struct Forks {
  std::array<Drawn, 2> drawn{{{1, 2}, {3, 4}}};
  std::array<std::string, 2> stdout_text{"42 " + std::string(32, 'a') + "\n",
                                         "42 " + std::string(32, 'b') + "\n"};
  std::string language = "python";
};

class FakeSource final : public MachineSource {
 public:
  explicit FakeSource(Forks forks) : forks_(std::move(forks)) {}
  ~FakeSource() override {
    for (std::thread& machine : machines_) machine.join();
  }
  FakeSource(const FakeSource&) = delete;
  FakeSource& operator=(const FakeSource&) = delete;

  [[nodiscard]] std::string_view name() const override { return "fake"; }
  Result<void> Prepare(Deadline /*deadline*/) override { return {}; }
  [[nodiscard]] std::string WhyStale() const override { return ""; }

  Result<ReadyMachine> Fork(Deadline /*deadline*/) override {
    std::array<int, 2> channel{};
    std::array<int, 2> status{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel.data()), 0);
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status.data()), 0);
    ReadyMachine machine;
    machine.fork.channel = UniqueFd(channel[0]);
    machine.fork.status = UniqueFd(status[0]);
    machines_.emplace_back([this, nth = machines_.size() % 2, end = UniqueFd(channel[1]),
                            alive = UniqueFd(status[1])] { Serve(nth, end.get()); });
    return machine;
  }

 private:
  void Serve(std::size_t nth, int channel) const {
    const auto say = [&](const std::string& frame) {
      EXPECT_EQ(::send(channel, frame.data(), frame.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(frame.size()));
    };
    FrameReader reader(Reads::kJobs);
    std::array<char, 4096> buffer;
    ssize_t n = 0;
    while ((n = ::read(channel, buffer.data(), buffer.size())) > 0) {
      if (!reader.Feed({buffer.data(), static_cast<std::size_t>(n)})) return;
      const auto frame = reader.Next();
      if (!frame) continue;
      if (frame->kind == FrameKind::kDescribe) {
        LanguageStatus status;
        status.id = forks_.language;
        status.ready = true;
        say(EncodeLanguages({forks_.drawn[nth], {status}}));
        continue;
      }
      End end;
      end.reason = schema::Reason::kExited;
      end.exit_code = 0;
      say(EncodeOutput(schema::EventKind::kStdout, forks_.stdout_text[nth]) + EncodeEnd(end));
    }
  }

  const Forks forks_;
  std::vector<std::thread> machines_;
};

struct Case {
  std::string name;
  Forks forks;
  std::string reason;  // a part of it; "" when they are believed
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class ProofTest : public testing::TestWithParam<Case> {};

TEST_P(ProofTest, BelievesForksThatHaveNothingInCommon) {
  ::signal(SIGPIPE, SIG_IGN);
  FakeSource source(GetParam().forks);
  const auto languages =
      Prove(source, "tcg", std::chrono::steady_clock::now() + std::chrono::seconds(30));
  if (GetParam().reason.empty()) {
    ASSERT_TRUE(languages) << languages.error().message;
    EXPECT_EQ(languages->at(0).id, GetParam().forks.language);
    return;
  }
  ASSERT_FALSE(languages);
  EXPECT_THAT(languages.error().message, HasSubstr(GetParam().reason));
}

Forks Draw(const Drawn& one, const Drawn& other) {
  Forks forks;
  forks.drawn = {one, other};
  return forks;
}

Forks Print(const std::string& one, const std::string& other) {
  Forks forks;
  forks.stdout_text = {one, other};
  return forks;
}

Forks Speak(const std::string& language) {
  Forks forks;
  forks.language = language;
  return forks;
}

constexpr const char* kSameNumbers = "the processors of two forks draw the same numbers";
const std::string kWord = "42 " + std::string(32, 'c') + "\n";

INSTANTIATE_TEST_SUITE_P(
    Templates, ProofTest,
    testing::Values(Case{"good", {}, ""}, Case{"good_with_bash", Speak("bash"), ""},
                    Case{"without_a_generator", Draw({0, 0}, {0, 0}), ""},
                    Case{"the_same_numbers", Draw({7, 8}, {7, 8}), kSameNumbers},
                    Case{"one_that_drew_before", Draw({7, 8}, {8, 9}), kSameNumbers},
                    Case{"the_same_seed", Print(kWord, kWord), "the same randomness"},
                    Case{"a_wrong_answer", Print("41" + kWord.substr(2), kWord), "first program"},
                    Case{"no_language_of_ours", Speak("cobol"), "neither python nor bash"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::sandbox::vm
