#include "runner/sandbox/vm/guest_under_test.h"

#include <fcntl.h>
#include <signal.h>

#include <array>
#include <thread>
#include <utility>

namespace forkbox::sandbox::vm {

using namespace std::chrono_literals;

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

}  // namespace forkbox::sandbox::vm
