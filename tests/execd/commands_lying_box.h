// A box whose file agents have been taken over by its programs: they answer as the test says, and
// do nothing. All else is done by the box inside.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "runner/execd/agent/agent_wire.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd::testing {

class LyingBox : public sandbox::Box {
 public:
  enum class Agents { kHonest, kClaimAll, kBeginOnly, kSilent };

  explicit LyingBox(sandbox::Box& inside) : inside_(inside) {}

  // Counts for agents that are started from here on: for those that idle, too, it is set at first.
  void Become(Agents agents) { agents_ = agents; }

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    if (program.kind != sandbox::BoxProgram::Kind::kAgent || agents_ == Agents::kHonest) {
      return inside_.Start(program);
    }
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return FailErrno("socketpair");
    }
    std::thread([fd = ends[1], how = agents_.load()] { Lie(UniqueFd(fd), how); }).detach();
    sandbox::BoxProcess process;
    process.channel = UniqueFd(ends[0]);
    process.pid = 2;
    return process;
  }
  Result<void> Freeze() override { return inside_.Freeze(); }
  Result<void> Thaw() override { return inside_.Thaw(); }
  void End() override { inside_.End(); }
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return inside_.Usage(); }
  [[nodiscard]] bool Alive() const override { return inside_.Alive(); }

 private:
  static void Lie(const UniqueFd& channel, Agents how) {
    for (;;) {
      FrameHeader asked;
      if (::recv(channel.get(), &asked, sizeof asked, MSG_WAITALL) != sizeof asked) return;
      std::string body(asked.size, '\0');
      if (::recv(channel.get(), body.data(), body.size(), MSG_WAITALL) !=
          static_cast<ssize_t>(body.size())) {
        return;
      }
      if (how == Agents::kSilent) continue;
      Say(channel, FrameKind::kBegun, EncodeText(""));
      if (how == Agents::kClaimAll) Say(channel, FrameKind::kDone, EncodeAnswer({}));
    }
  }
  static void Say(const UniqueFd& channel, FrameKind kind, const std::string& body) {
    const FrameHeader header{static_cast<std::uint32_t>(kind),
                             static_cast<std::uint32_t>(body.size())};
    (void)::send(channel.get(), &header, sizeof header, MSG_NOSIGNAL);
    (void)::send(channel.get(), body.data(), body.size(), MSG_NOSIGNAL);
  }

  sandbox::Box& inside_;
  std::atomic<Agents> agents_ = Agents::kHonest;
};

}  // namespace forkbox::execd::testing
