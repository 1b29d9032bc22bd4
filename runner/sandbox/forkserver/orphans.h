// Programs whose template is dead: they are the forkserver's children now, and their cells wait for
// their burial. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "runner/sandbox/forkserver/live_cell.h"
#include "runner/sandbox/forkserver/warm_template.h"

namespace forkbox::sandbox {

class Orphans {
 public:
  // There are some. `soon`: their cell was killed. The others, in boxes, end whenever they do.
  void Expect(bool soon);
  // When to bury again, ms; -1 when there are none.
  [[nodiscard]] int LookAgain() const;
  // Takes those that have ended; inits and templates are left to who waits for them.
  void Bury(const std::map<std::uint64_t, LiveCell>& cells,
            const std::vector<WarmTemplate>& templates);

 private:
  enum class State { kNone, kSomeTime, kAwaited };
  State state_ = State::kNone;
};

}  // namespace forkbox::sandbox
