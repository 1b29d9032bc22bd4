// What the host makes of an agent, honest or not: one that lies, floods, breaks off or says nothing
// has a defined end, and an honest one its outcome. The machine is a thread on a socket.
#include "runner/sandbox/vm/vm_sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <ostream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {
namespace {

using namespace std::chrono_literals;
using schema::EventKind;
using schema::Outcome;
using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kBroke = "the agent in the virtual machine broke the protocol";

// A file that holds a text, as those of a cgroup do.
class NumberFile {
 public:
  explicit NumberFile(const std::string& text) {
    std::string path = "/tmp/forkbox-number-XXXXXX";
    fd_ = UniqueFd(::mkstemp(path.data()));
    ::unlink(path.c_str());
    Set(text);
  }
  void Set(const std::string& text) {
    EXPECT_EQ(::pwrite(fd_.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] UniqueFd Open() const { return UniqueFd(::dup(fd_.get())); }

 private:
  UniqueFd fd_;
};

// The machine's side: its agent's socket, its status, what QEMU says, and the kernel's numbers.
struct Guest {
  UniqueFd channel;
  UniqueFd status;
  UniqueFd complaints;
  NumberFile cpu_ns{"1000000"};
  NumberFile events{"oom_kill 0\n"};

  bool Say(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(channel.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  Job TakeJob() const {
    FrameReader reader(Reads::kJobs);
    std::string buffer(64 << 10, '\0');
    for (;;) {
      if (const auto frame = reader.Next()) {
        const auto job = DecodeJob(frame->body);
        EXPECT_TRUE(job);
        return job.value_or(Job{});
      }
      const ssize_t n = ::read(channel.get(), buffer.data(), buffer.size());
      if (n <= 0 || !reader.Feed({buffer.data(), static_cast<std::size_t>(n)})) return {};
    }
  }
  // As when its process has ended.
  void Die(int wait_status) {
    StatusMessage message;
    message.kind = StatusKind::kExited;
    message.wait_status = wait_status;
    EXPECT_TRUE(SendPacket(status.get(), &message, sizeof message));
    complaints.Reset();
    channel.Reset();
  }
  // Until the host lets go.
  void Wait() const {
    char byte = 0;
    while (::read(channel.get(), &byte, 1) > 0) {
    }
  }
};

End Exited(int code) {
  End end;
  end.reason = Reason::kExited;
  end.exit_code = code;
  return end;
}

std::string Frame(std::uint32_t size, std::uint32_t kind, const std::string& body = {}) {
  WireWriter out;
  out.U32(size);
  out.U32(kind);
  return out.Take() + body;
}

struct Scene {
  schema::Limits limits;
  schema::Source source;
  int cpu_factor = 20;
  std::chrono::milliseconds compile_time{0};
  std::function<void(VmSandbox&, const schema::Event&)> on_event;
};

struct Seen {
  Outcome outcome;
  std::vector<schema::Event> events;
};

Seen RunAgainst(const std::function<void(Guest&)>& agent, Scene run) {
  ::signal(SIGPIPE, SIG_IGN);
  Guest guest;
  std::array<int, 2> channel{};
  std::array<int, 2> status{};
  std::array<int, 2> complaints{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel.data()), 0);
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status.data()), 0);
  EXPECT_EQ(::pipe2(complaints.data(), O_CLOEXEC), 0);
  guest.channel = UniqueFd(channel[1]);
  guest.status = UniqueFd(status[1]);
  guest.complaints = UniqueFd(complaints[1]);
  const NumberFile peak("123456789\n");

  ReadyMachine machine;
  machine.fork.channel = UniqueFd(channel[0]);
  machine.fork.status = UniqueFd(status[0]);
  machine.fork.stderr_pipe = UniqueFd(complaints[0]);
  machine.fork.stdin_pipe = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  machine.fork.stdout_pipe = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  machine.fork.cpu_usage = guest.cpu_ns.Open();
  machine.fork.memory_peak = peak.Open();
  machine.fork.memory_events = guest.events.Open();

  std::thread thread([&] { agent(guest); });
  Seen seen;
  {
    VmSandbox sandbox(std::move(machine), "python", run.limits, run.cpu_factor, "tcg", 7us,
                      run.compile_time);
    EXPECT_TRUE(sandbox.CanBeCancelled());
    seen.outcome = sandbox.Run(run.source, [&](const schema::Event& event) {
      seen.events.push_back(event);
      if (run.on_event) run.on_event(sandbox, event);
    });
    thread.join();  // while the sandbox is still there: its end alone has let go of the machine
  }
  EXPECT_EQ(seen.outcome.isolation, schema::Isolation::kVm);
  EXPECT_EQ(seen.outcome.accelerator, "tcg");
  EXPECT_EQ(seen.outcome.timings.fork, 7us);
  EXPECT_EQ(seen.outcome.timings.total,
            seen.outcome.timings.fork + seen.outcome.timings.compile + seen.outcome.timings.exec);
  EXPECT_EQ(seen.outcome.usage.peak_memory_bytes, 123456789U);
  return seen;
}

// ------------------------------------------------------------------ honest agents

TEST(VmSandboxTest, TheOutcomeIsWhatTheAgentTells) {
  Scene run;
  run.source.code = "print('hello')";
  run.source.stdin_data = "in";
  run.source.args = {"a", "b"};
  run.source.cases.resize(3);
  run.limits.memory_bytes = 77 << 20;
  Job job;
  const Seen seen = RunAgainst(
      [&](Guest& guest) {
        job = guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStdout, "one\xff"));
        guest.Say(EncodeOutput(EventKind::kStderr, "warn"));
        guest.Say(EncodeOutput(EventKind::kStdout, "two"));
        End end = Exited(3);
        end.stderr_truncated = true;
        guest.Say(EncodeEnd(end));
        guest.Wait();
      },
      run);
  EXPECT_EQ(job.language, "python");
  EXPECT_EQ(job.source.code, run.source.code);
  EXPECT_EQ(job.source.args, run.source.args);
  EXPECT_TRUE(job.source.cases.empty());
  EXPECT_EQ(job.limits.memory_bytes, run.limits.memory_bytes);
  EXPECT_NE(job.awakening.seed, Seed{});
  EXPECT_GT(job.awakening.clock_unix_ns, 0);

  const Outcome& outcome = seen.outcome;
  EXPECT_EQ(outcome.reason, Reason::kExited) << outcome.message;
  EXPECT_EQ(outcome.state, schema::State::kError);
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.stdout_text, "one\xEF\xBF\xBDtwo");
  EXPECT_EQ(outcome.stderr_text, "warn");
  EXPECT_FALSE(outcome.stdout_truncated);
  EXPECT_TRUE(outcome.stderr_truncated);
  EXPECT_EQ(outcome.usage.wall, outcome.timings.exec);
  ASSERT_EQ(seen.events.size(), 3U);
  EXPECT_EQ(seen.events[0].data, "one\xff");
  EXPECT_EQ(seen.events[1].kind, EventKind::kStderr);
}

TEST(VmSandboxTest, TwoRunsAreGivenDifferentSeeds) {
  std::vector<Seed> seeds;
  for (int i = 0; i < 2; ++i) {
    RunAgainst(
        [&](Guest& guest) {
          seeds.push_back(guest.TakeJob().awakening.seed);
          guest.Say(EncodeEnd(Exited(0)));
        },
        {});
  }
  EXPECT_NE(seeds.at(0), seeds.at(1));
}

TEST(VmSandboxTest, AValueIsThatOfAFunctionWhichCompleted) {
  for (const auto& [entry, code, value] : {std::tuple(schema::EntryKind::kFunction, 0, "[1]"),
                                           std::tuple(schema::EntryKind::kFunction, 1, "none"),
                                           std::tuple(schema::EntryKind::kScript, 0, "none")}) {
    Scene run;
    run.source.entry = entry;
    const Seen seen = RunAgainst(
        [code = code](Guest& guest) {
          guest.TakeJob();
          End end = Exited(code);
          end.value_json = "[1]";
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.value_json.value_or("none"), value);
    EXPECT_EQ(seen.events.size(), seen.outcome.value_json ? 1U : 0U);
  }
}

// An answer to the function's owner and to nobody else; what else a guest says is in no message.
TEST(VmSandboxTest, WhyAFunctionHasNoValueIsToldToItsOwnerAlone) {
  for (const auto& [entry, code, message] :
       {std::tuple(schema::EntryKind::kFunction, 0, "no value"),
        std::tuple(schema::EntryKind::kFunction, 1, ""),
        std::tuple(schema::EntryKind::kScript, 0, "")}) {
    Scene run;
    run.source.entry = entry;
    const Seen seen = RunAgainst(
        [code = code](Guest& guest) {
          guest.TakeJob();
          End end = Exited(code);
          end.message = "no value";
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.message, message);
  }
}

TEST(VmSandboxTest, WhatACompilerSaysHasTheLimitOfOutput) {
  for (const Reason reason : {Reason::kCompileFailed, Reason::kExited}) {
    Scene run;
    run.compile_time = 60s;
    run.limits.output_bytes = 1000;
    const Seen seen = RunAgainst(
        [reason = reason](Guest& guest) {
          guest.TakeJob();
          End end = Exited(0);
          end.reason = reason;
          end.compile_output = std::string(999, 'x') + "\xC3\xA4" + std::string(1 << 20, 'y');
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, reason) << seen.outcome.message;
    EXPECT_EQ(seen.outcome.compile_output, std::string(999, 'x'));
    EXPECT_EQ(seen.outcome.stderr_truncated, reason == Reason::kCompileFailed);
  }
}

TEST(VmSandboxTest, FramesMayComeInPiecesAndTheEndWithTheMachines) {
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        const std::string bytes =
            EncodeOutput(EventKind::kStdout, "piece by piece") + EncodeEnd(Exited(0));
        for (const char byte : bytes) guest.Say({&byte, 1});
        guest.Die(0);
      },
      {});
  EXPECT_EQ(seen.outcome.state, schema::State::kCompleted) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.stdout_text, "piece by piece");
}

// What a compiler takes is not the program's: neither of its wall time nor of its processor time.
TEST(VmSandboxTest, TheLimitsOfARunBeginAfterItsCompiler) {
  Scene run;
  run.compile_time = 60s;
  run.limits.wall = 5s;
  run.limits.cpu = 100ms;
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeState("compiling"));
        std::this_thread::sleep_for(50ms);
        guest.cpu_ns.Set("99000000000");  // 99 s
        std::this_thread::sleep_for(300ms);
        guest.Say(EncodeState("running"));
        std::this_thread::sleep_for(50ms);
        End end = Exited(0);
        end.compile = 10h;  // which cannot be
        end.compile_output = "warning: unused\n";
        guest.Say(EncodeEnd(end));
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kExited) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.compile_output, "warning: unused\n");
  EXPECT_GE(seen.outcome.timings.compile, 350ms);
  EXPECT_LT(seen.outcome.timings.compile, 1h);
  EXPECT_GE(seen.outcome.timings.exec, 0us);
  EXPECT_LT(seen.outcome.usage.cpu, 1s);
  ASSERT_EQ(seen.events.size(), 2U);
  EXPECT_EQ(seen.events[0].data, "compiling");
  EXPECT_EQ(seen.events[1].data, "running");
}

struct TimeCase {
  const char* name;
  std::chrono::milliseconds compile_time;
  std::vector<std::string> states;  // said before the program takes its time
  Reason reason;
  bool counts;  // as the program's time
};

// Whatever a guest says of its compiler: what it took after that is the program's.
TEST(VmSandboxTest, NoGuestTalksTheTimeOfItsProgramAway) {
  for (const TimeCase& test :
       {TimeCase{"no compiler", 0ms, {}, Reason::kExited, true},
        TimeCase{"no compiler, running", 0ms, {"running"}, Reason::kExited, true},
        TimeCase{"no compiler, and yet it failed", 0ms, {}, Reason::kCompileFailed, true},
        TimeCase{"no word of its compiler", 60s, {}, Reason::kExited, true},
        TimeCase{"after its compiler", 60s, {"compiling", "running"}, Reason::kExited, true},
        TimeCase{"in its compiler", 60s, {"compiling"}, Reason::kSignalled, true},
        TimeCase{"its compiler failed", 60s, {"compiling"}, Reason::kCompileFailed, false}}) {
    Scene run;
    run.compile_time = test.compile_time;
    const Seen seen = RunAgainst(
        [&](Guest& guest) {
          guest.TakeJob();
          for (const std::string& state : test.states) guest.Say(EncodeState(state));
          std::this_thread::sleep_for(300ms);
          End end = Exited(0);
          end.reason = test.reason;
          if (test.reason == Reason::kSignalled) {
            end.exit_code.reset();
            end.signal = 9;
          }
          end.compile = 10h;
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, test.reason) << test.name << ": " << seen.outcome.message;
    if (test.counts) {
      EXPECT_GE(seen.outcome.usage.wall, 200ms) << test.name;
    } else {
      EXPECT_EQ(seen.outcome.usage.wall, 0us) << test.name;
      EXPECT_GE(seen.outcome.timings.compile, 200ms) << test.name;
    }
    if (test.compile_time == 0ms) {
      EXPECT_EQ(seen.outcome.timings.compile, 0us) << test.name;
    }
  }
}

// Nobody knows that it is the compiler who speaks before the end says so.
TEST(VmSandboxTest, WhatDoesNotCompileHasPrintedNothing) {
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStderr, "SyntaxError"));
        End end;
        end.reason = Reason::kCompileFailed;
        end.exit_code = 1;
        end.compile_output = "SyntaxError";
        guest.Say(EncodeEnd(end));
      },
      {});
  EXPECT_EQ(seen.outcome.reason, Reason::kCompileFailed);
  EXPECT_EQ(seen.outcome.compile_output, "SyntaxError");
  EXPECT_EQ(seen.outcome.stderr_text, "");
}

TEST(VmSandboxTest, ACompilerThatDoesNotEndIsStopped) {
  Scene run;
  run.compile_time = 300ms;
  run.limits.wall = 60s;
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeState("compiling"));
        guest.Wait();
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kCompileFailed);
  EXPECT_EQ(seen.outcome.exit_code, 1);
  EXPECT_THAT(seen.outcome.compile_output, HasSubstr("the compiler was stopped after"));
  EXPECT_GE(seen.outcome.timings.compile, 300ms);
}

TEST(VmSandboxTest, ProcessorTimeIsMultipliedByTheFactor) {
  for (const auto& [ns, reason] :
       {std::pair{"151000000", Reason::kExited}, std::pair{"251000000", Reason::kCpuTimeout}}) {
    Scene run;
    run.limits.cpu = 10ms;  // of 20: 200 ms
    const Seen seen = RunAgainst(
        [ns = ns](Guest& guest) {
          guest.TakeJob();
          guest.cpu_ns.Set(ns);
          std::this_thread::sleep_for(1s);
          guest.Say(EncodeEnd(Exited(0)));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, reason) << seen.outcome.message;
    EXPECT_GE(seen.outcome.usage.cpu, 100ms);
  }
}

// ------------------------------------------------------------------ all others

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

// What is over the limit is not kept anywhere, and yet known to have been there when the host is the
// one that ends the run.
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
