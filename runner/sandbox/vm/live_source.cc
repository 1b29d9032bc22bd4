#include "runner/sandbox/vm/live_source.h"

#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "runner/sandbox/vm/live/descriptors.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr std::chrono::milliseconds kLookAgain{20};  // a boot takes seconds

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
                       const schema::Limits& cell)
    : client_(client), template_index_(template_index), cell_(cell) {}

Result<void> LiveSource::Prepare(Deadline deadline) {
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

Result<ReadyMachine> LiveSource::Fork(Deadline deadline) {
  auto fork = client_.Fork(template_index_, cell_, deadline);
  if (!fork) return Fail(fork.error());
  ReadyMachine machine;
  machine.fork = std::move(*fork);
  return machine;
}

std::string LiveSource::WhyStale() const {
  const auto state = client_.StateOf(template_index_);
  return state.ready ? "" : Reason(state);
}

}  // namespace forkbox::sandbox::vm
