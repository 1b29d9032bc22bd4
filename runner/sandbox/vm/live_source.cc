#include "runner/sandbox/vm/live_source.h"

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "runner/sandbox/vm/live/descriptors.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr std::chrono::milliseconds kLookAgain{20};  // a boot takes seconds
constexpr std::chrono::seconds kOrderPatience{10};   // the memory of a process is freed

Deadline In(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

std::string Reason(const ForkserverClient::TemplateState& state) {
  if (!state.reason.empty()) return state.reason;
  return state.known ? "the template has ended" : "the template has not booted";
}

}  // namespace

TemplateSpec LiveTemplate(const Machine& machine) {
  TemplateSpec spec;
  spec.name = "vm";
  spec.command =
      BootCommand(machine, {.agent = kLiveAgentFd, .monitor = kLiveMonitorFd}, kLiveSandbox);
  spec.env = {std::string("LD_PRELOAD=") + kLiveLibraryPath};
  spec.filter = TemplateSpec::Filter::kMachine;
  return spec;
}

LiveSource::LiveSource(ForkserverClient& client, std::size_t template_index,
                       const schema::Limits& cell, std::optional<std::string> variant)
    : client_(client), template_index_(template_index), cell_(cell), variant_(std::move(variant)) {}

Result<void> LiveSource::Prepare(Deadline deadline) {
  auto ready = AwaitReady(deadline);
  if (ready) return {};
  Stop();
  if (ready.error().code != ErrorCode::kDeadlineExceeded) return ready;
  return Fail(ErrorCode::kDeadlineExceeded, "the template has not booted in time, its last word: " +
                                                Reason(client_.StateOf(template_index_)));
}

Result<void> LiveSource::AwaitReady(Deadline deadline) {
  // One that has not been heard of is in its first boot. Any other has failed, and may have been
  // given up, or be in a boot that hangs.
  const auto before = client_.StateOf(template_index_);
  if ((before.known && !before.ready) || (variant_ && !begun_)) {
    auto begun =
        client_.RestartTemplate(template_index_, In(kOrderPatience), variant_.value_or(""));
    if (!begun) return begun;
    begun_ = true;
  }
  const std::uint64_t heard = client_.StateOf(template_index_).heard;
  for (;;) {
    const auto state = client_.StateOf(template_index_);
    if (state.ready) return {};
    if (state.heard > heard || !client_.alive()) {
      return Fail(ErrorCode::kUnavailable, Reason(state));
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kDeadlineExceeded, Reason(state));
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

void LiveSource::Stop() {
  // Where it cannot be done the forkserver is gone, and the template with it.
  (void)client_.StopTemplate(template_index_, In(kOrderPatience));
}

Result<ReadyMachine> LiveSource::Fork(Deadline deadline) {
  auto fork = client_.Fork(template_index_, cell_, deadline);
  if (!fork) return Fail(fork.error());
  ReadyMachine machine;
  machine.fork = std::move(*fork);
  return machine;
}

std::string LiveSource::WhyStale() const {
  const auto state = client_.StateOf(template_index_);
  if (state.ready) return "";
  if (!state.known || state.reason.empty()) return Reason(state);
  // The last line of a guest that was killed is about something else.
  return "the template has ended; last it said: " + state.reason;
}

}  // namespace forkbox::sandbox::vm
