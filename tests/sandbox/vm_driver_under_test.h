// The driver of virtual machines as the suites run it: one template boots for all tests of an
// executable and each design.
#pragma once

#include <memory>

#include "runner/sandbox/vm/vm_driver.h"
#include "tests/sandbox/driver_under_test.h"

namespace forkbox::sandbox::testing {

vm::VmDriverOptions VmTestOptions(vm::Design design);

// Start(), Open() and WaitUntilReady().
Result<std::unique_ptr<vm::VmDriver>> StartVmDriver(vm::VmDriverOptions options);

// "vm_live", "vm_snapshot"
DriverUnderTest VmDriverUnderTest(vm::Design design);

}  // namespace forkbox::sandbox::testing
