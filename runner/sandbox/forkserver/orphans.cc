#include "runner/sandbox/forkserver/orphans.h"

#include <sys/wait.h>

#include <algorithm>

namespace forkbox::sandbox {

void Orphans::Expect(bool soon) {
  state_ = std::max(state_, soon ? State::kAwaited : State::kSomeTime);
}

int Orphans::LookAgain() const {
  return state_ == State::kAwaited ? 20 : state_ == State::kSomeTime ? 1000 : -1;
}

// The first that has ended is looked at without taking it.
void Orphans::Bury(const std::map<std::uint64_t, LiveCell>& cells,
                   const std::vector<WarmTemplate>& templates) {
  if (state_ == State::kNone) return;
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
    const bool ours =
        std::any_of(cells.begin(), cells.end(),
                    [&](const auto& cell) { return cell.second.cell.init_pid == info.si_pid; }) ||
        std::any_of(templates.begin(), templates.end(),
                    [&](const WarmTemplate& entry) { return entry.pid == info.si_pid; });
    if (ours) break;  // its turn comes with the next poll, and ours after it
    ::waitpid(info.si_pid, nullptr, 0);
  }
  state_ = State::kNone;
  for (const auto& [id, live] : cells) {
    if (live.orphaned) Expect(live.killed);
  }
}

}  // namespace forkbox::sandbox
