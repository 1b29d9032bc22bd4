// The process driver as the suites run it.
#pragma once

#include <cstddef>

#include "runner/sandbox/process_driver.h"
#include "tests/sandbox/driver_under_test.h"

namespace forkbox::sandbox::testing {

ProcessDriverOptions TestOptions(std::size_t pool_size);

// Start() and Open().
Result<std::unique_ptr<ProcessDriver>> StartProcessDriver(ProcessDriverOptions options);

DriverUnderTest ProcessDriverUnderTest(std::size_t pool_size);

}  // namespace forkbox::sandbox::testing
