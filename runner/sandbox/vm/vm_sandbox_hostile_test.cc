// What the host makes of any other agent: one that lies, floods, breaks off or says nothing has a
// defined end, and nothing of what it says is in a message of ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>

#include "runner/sandbox/vm/guest_under_test.h"

namespace forkbox::sandbox::vm {
namespace {

using namespace std::chrono_literals;
using schema::EventKind;
using schema::Reason;
using testing::HasSubstr;

constexpr const char* kBroke = "the agent in the virtual machine broke the protocol";

std::string Frame(std::uint32_t size, std::uint32_t kind, const std::string& body = {}) {
  WireWriter out;
  out.U32(size);
  out.U32(kind);
  return out.Take() + body;
}

struct Case {
  std::string name;
  std::function<void(Guest&)> agent;
  Reason reason = Reason::kSandboxFailed;
  std::string message = kBroke;
  std::string stdout_text = {};
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class HostileAgent : public testing::TestWithParam<Case> {};

TEST_P(HostileAgent, HasADefinedEnd) {
  Scene run;
  run.limits.wall = 1500ms;
  run.limits.output_bytes = 1000;
  run.source.code = std::string(4 << 20, 'x');  // more than a socket holds
  const Seen seen = RunAgainst(GetParam().agent, run);
  EXPECT_EQ(seen.outcome.reason, GetParam().reason) << seen.outcome.message;
  // To the letter: whatever a guest says, the words are ours.
  EXPECT_EQ(seen.outcome.message, GetParam().message);
  EXPECT_EQ(seen.outcome.stdout_text, GetParam().stdout_text);
  EXPECT_EQ(seen.outcome.value_json, std::nullopt);
}

std::function<void(Guest&)> Says(std::string bytes) {
  return [bytes = std::move(bytes)](Guest& guest) {
    guest.TakeJob();
    guest.Say(bytes);
    guest.Wait();
  };
}

// Again and again, until nobody listens.
std::function<void(Guest&)> Floods(std::string bytes) {
  return [bytes = std::move(bytes)](Guest& guest) {
    guest.TakeJob();
    while (guest.Say(bytes)) {
    }
  };
}

std::string EndWith(const std::string& value) {
  End end = Exited(0);
  end.value_json = value;
  return EncodeEnd(end);
}

INSTANTIATE_TEST_SUITE_P(
    Behaviours, HostileAgent,
    testing::Values(
        Case{"rubbish", Says("GET / HTTP/1.1\r\nHost: host\r\n\r\n")},
        Case{"a_frame_of_nothing", Says(Frame(0, 19))},
        Case{"a_frame_of_gigabytes", Says(Frame(0xffffffff, 21))},
        Case{"output_in_too_large_a_piece",
             Says(EncodeOutput(EventKind::kStdout, std::string(kMaxOutputPiece + 1, 'x')))},
        Case{"output_of_a_third_stream", Says(Frame(12, 19, std::string("\3\0\0\0\0\0\0\0", 8)))},
        Case{"a_question_of_its_own", Says(EncodeJob({}))},
        Case{"ready_again", Says(EncodeReady())},
        Case{"languages_that_nobody_asked_for", Says(EncodeLanguages({{}, {}}))},
        Case{"a_state_that_is_none", Says(EncodeState("<script>"))},
        Case{"running_twice", Says(EncodeState("running") + EncodeState("running"))},
        Case{"compiling_without_a_compiler", Says(EncodeState("compiling"))},
        Case{"compiling_after_running", Says(EncodeState("running") + EncodeState("compiling"))},
        Case{"an_end_that_is_none", Says(Frame(12, 21, std::string(8, '\xff')))},
        Case{"an_end_by_our_own_reasons", Says([] {
               End end;
               end.reason = Reason::kCancelled;
               return EncodeEnd(end);
             }())},
        Case{"a_value_that_is_no_json", Says(EndWith("{"))},
        Case{"a_value_that_is_too_large", Says(EndWith('"' + std::string(2 << 20, 'v') + '"'))},
        Case{"a_value_beyond_every_frame", Says(EndWith('"' + std::string(8 << 20, 'v') + '"'))},
        Case{"output_and_then_rubbish", [](Guest& guest) {
               guest.TakeJob();
               guest.Say(EncodeOutput(EventKind::kStdout, "kept"));
               std::this_thread::sleep_for(300ms);
               guest.Say(std::string(64, '\xee'));
               guest.Wait();
             }, Reason::kSandboxFailed, kBroke, "kept"},
        Case{"failure", Says(EncodeFailed("no such thing")), Reason::kSandboxFailed,
             "the agent in the virtual machine failed"},
        Case{"an_end_that_is_ours_to_say", Says([] {
               End end;  // kSandboxFailed
               end.message = "print me in your log";
               return EncodeEnd(end);
             }()), Reason::kSandboxFailed,
             "the agent in the virtual machine could not run the program"},
        Case{"silence", Says(""), Reason::kWallTimeout, ""},
        Case{"half_a_frame", Says(EncodeEnd(Exited(0)).substr(0, 20)), Reason::kWallTimeout, ""},
        Case{"nothing_but_empty_output", Floods(EncodeOutput(EventKind::kStdout, "")),
             Reason::kWallTimeout, ""},
        Case{"a_flood", Floods(EncodeOutput(EventKind::kStdout, std::string(60'000, 'x'))),
             Reason::kWallTimeout, "", std::string(1000, 'x')},
        Case{"output_over_the_cap", Says(EncodeOutput(EventKind::kStdout, std::string(999, 'a')) +
                                         EncodeOutput(EventKind::kStdout, std::string(999, 'b')) +
                                         EncodeEnd(Exited(0))),
             Reason::kExited, "", std::string(999, 'a') + "b"},
        Case{"two_ends", Says(EncodeEnd(Exited(0)) + EncodeEnd(Exited(1))),
             Reason::kExited, ""},
        Case{"a_job_that_is_not_taken", [](Guest& guest) {
               char byte = 0;
               // What the host does not get rid of is still there when it has given up.
               std::this_thread::sleep_for(2s);
               while (::read(guest.channel.get(), &byte, 1) > 0) {
               }
             }, Reason::kWallTimeout, ""},
        Case{"a_hang_up", [](Guest& guest) {
               guest.TakeJob();
               guest.Die(SIGSYS);
             }, Reason::kSandboxFailed, "the virtual machine ended by itself (signal 31)"},
        Case{"a_hang_up_with_a_complaint", [](Guest& guest) {
               guest.TakeJob();
               const std::string text = std::string(9000, '.') + "qemu: disk\n I/O error\x01\n";
               EXPECT_GT(::write(guest.complaints.get(), text.data(), text.size()), 0);
               guest.Die(256);
             }, Reason::kSandboxFailed, "the virtual machine ended by itself (exit code 1)"},
        Case{"a_machine_without_memory", [](Guest& guest) {
               guest.TakeJob();
               guest.events.Set("oom_kill 1\n");
               guest.Die(SIGKILL);
             }, Reason::kOutOfMemory, ""},
        Case{"a_cell_that_is_torn_down", [](Guest& guest) {
               guest.TakeJob();
               guest.status.Reset();
               guest.Wait();
             }, Reason::kSandboxFailed, "the virtual machine ended by itself (its cell was torn down)"}),
    [](const auto& test) { return test.param.name; });

// A QEMU that complains is not to wait for somebody to hear it.
TEST(VmSandboxTest, ComplaintsAreTakenHoweverMany) {
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        const std::string text(64 << 10, '.');
        for (int i = 0; i < 8; ++i) {
          EXPECT_EQ(::write(guest.complaints.get(), text.data(), text.size()),
                    static_cast<ssize_t>(text.size()));
        }
        guest.Say(EncodeEnd(Exited(0)));
      },
      {});
  EXPECT_EQ(seen.outcome.state, schema::State::kCompleted) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.message, "");
}

TEST(VmSandboxTest, AWallLimitOfZeroSendsNothing) {
  Scene run;
  run.limits.wall = 0ms;
  std::atomic<std::size_t> sent{0};
  const Seen seen = RunAgainst(
      [&](Guest& guest) {
        char byte = 0;
        while (::read(guest.channel.get(), &byte, 1) > 0) ++sent;
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kWallTimeout);
  EXPECT_EQ(sent, 0U);
}

TEST(VmSandboxTest, CancelEndsTheRunAndKeepsWhatItPrinted) {
  Scene run;
  run.limits.wall = 60s;
  run.on_event = [](VmSandbox& sandbox, const schema::Event& event) {
    if (event.data == "here") sandbox.Cancel();
  };
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStdout, "here"));
        guest.Wait();
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kCancelled);
  EXPECT_EQ(seen.outcome.state, schema::State::kCancelled);
  EXPECT_EQ(seen.outcome.stdout_text, "here");
}

TEST(VmSandboxTest, AJobThatIsTooLargeIsRefused) {
  Scene run;
  run.source.code = std::string(kMaxJobBytes, 'x');
  const Seen seen = RunAgainst([](Guest& guest) { guest.Wait(); }, run);
  EXPECT_EQ(seen.outcome.reason, Reason::kSandboxFailed);
  EXPECT_THAT(seen.outcome.message, HasSubstr("too large"));
}

// The most that this process has had in memory since the last call.
std::size_t PeakBytes() {
  std::size_t kib = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) kib = std::strtoul(line.c_str() + 6, nullptr, 10);
  }
  std::ofstream("/proc/self/clear_refs") << "5";  // begins anew (proc(5))
  return kib << 10;
}

// A guest that takes nothing of a large job and floods us meanwhile.
TEST(VmSandboxTest, NeitherAJobThatIsNotTakenNorAFloodGrowsInMemory) {
  constexpr std::size_t kJobBytes = 64U << 20;
  Scene run;
  run.limits.wall = 3s;
  run.limits.output_bytes = 1000;
  run.source.code = std::string(kJobBytes, 'x');
  PeakBytes();
  const std::size_t before = PeakBytes();
  const auto start = std::chrono::steady_clock::now();
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        const std::string flood = EncodeOutput(EventKind::kStdout, std::string(60'000, 'y'));
        while (guest.Say(flood)) {
        }
      },
      run);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
  EXPECT_EQ(seen.outcome.reason, Reason::kWallTimeout) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.stdout_text, std::string(1000, 'y'));
  EXPECT_TRUE(seen.outcome.stdout_truncated);
  // The job, its frame, and what a sanitizer keeps of what was freed.
  EXPECT_LT(PeakBytes() - before, 8 * kJobBytes);
}

// What is over the limit is not kept anywhere, and yet known to have been there when the host is
// the one that ends the run.
TEST(VmSandboxTest, OutputIsKnownToBeCutHoweverTheRunEnds) {
  Scene run;
  run.limits.wall = 500ms;
  run.limits.output_bytes = 1000;
  Job job;
  const Seen seen = RunAgainst(
      [&](Guest& guest) {
        job = guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStdout, std::string(job.limits.output_bytes, 'y')));
        guest.Say(EncodeOutput(EventKind::kStderr, std::string(1000, 'y')));
        guest.Wait();
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kWallTimeout) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.stdout_text, std::string(1000, 'y'));
  EXPECT_TRUE(seen.outcome.stdout_truncated);
  EXPECT_FALSE(seen.outcome.stderr_truncated);
}

}  // namespace
}  // namespace forkbox::sandbox::vm
