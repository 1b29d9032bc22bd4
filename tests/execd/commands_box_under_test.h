// A box and what is done in it, as the suites of commands, shells and terminals run in it: a real
// one, in a driver's cell; or one that only forks, on the host, so that the same tests say the same
// without any privilege.
#pragma once

#include <memory>

#include "runner/execd/files.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd::testing {

class BoxUnderTest {
 public:
  virtual ~BoxUnderTest() = default;
  virtual sandbox::Box& box() = 0;
  virtual Files& files() = 0;
};

// Fails the test when there is none.
std::unique_ptr<BoxUnderTest> OpenBoxUnderTest(const sandbox::BoxLimits& limits = {});

// True: what runs there is walled in, and may be as hostile as it likes.
bool IsRealBox();

}  // namespace forkbox::execd::testing
