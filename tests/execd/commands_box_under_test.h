// A box of the real driver and what is done in it, as the suites of commands, shells and terminals
// run in it.
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

// Null, and the test fails, when there is none.
std::unique_ptr<BoxUnderTest> OpenBoxUnderTest(const sandbox::BoxLimits& limits = {});

}  // namespace forkbox::execd::testing
