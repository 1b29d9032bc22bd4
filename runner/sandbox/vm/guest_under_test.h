// A machine for the tests of VmSandbox: a thread on a socket, whose agent is a function.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/vm_sandbox.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {

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
    // The host may have let go already: it does once the agent has said how the program ended.
    (void)SendPacket(status.get(), &message, sizeof message);
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

inline End Exited(int code) {
  End end;
  end.reason = schema::Reason::kExited;
  end.exit_code = code;
  return end;
}

struct Scene {
  schema::Limits limits;
  schema::Source source;
  int cpu_factor = 20;
  std::chrono::milliseconds compile_time{0};
  std::function<void(VmSandbox&, const schema::Event&)> on_event;
};

struct Seen {
  schema::Outcome outcome;
  std::vector<schema::Event> events;
};

// One run, of which everything that is the same for all runs is checked.
Seen RunAgainst(const std::function<void(Guest&)>& agent, Scene run);

}  // namespace forkbox::sandbox::vm
