#include "tests/sandbox/vm_driver_under_test.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

namespace forkbox::sandbox::testing {

vm::VmDriverOptions VmTestOptions(vm::Design design) {
  vm::VmDriverOptions options;
  options.forkserver_path = FORKBOX_FORKSERVER;
  options.programs_dir = FORKBOX_VM_PROGRAMS;
  const char* image = std::getenv("FORKBOX_TEST_VM_IMAGE");  // as in vm_host.h
  options.image_dir = image != nullptr ? image : FORKBOX_VM_IMAGE;
  options.design = design;
  options.allow_kvm = false;  // both designs under the same accelerator, on any machine
  options.log = Log(STDERR_FILENO, LogLevel::kInfo);
  return options;
}

Result<std::unique_ptr<vm::VmDriver>> StartVmDriver(vm::VmDriverOptions options) {
  auto driver = vm::VmDriver::Start(std::move(options));
  if (!driver) return driver;
  (*driver)->Open();
  // Two boots on a busy machine.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(6);
  if (auto ready = (*driver)->WaitUntilReady(deadline); !ready) return Fail(ready.error());
  return driver;
}

DriverUnderTest VmDriverUnderTest(vm::Design design) {
  DriverUnderTest under_test;
  under_test.name = design == vm::Design::kLive ? "vm_live" : "vm_snapshot";
  under_test.cpu_factor = vm::kEmulationFactor;
  under_test.slowness = 2;
  under_test.announces_exit = true;
  under_test.forkserver = [](const Driver& driver) {
    return dynamic_cast<const vm::VmDriver&>(driver).forkserver_pid();
  };
  under_test.start = [design]() -> Result<std::unique_ptr<Driver>> {
    auto driver = StartVmDriver(VmTestOptions(design));
    if (!driver) return Fail(driver.error());
    return std::unique_ptr<Driver>(std::move(*driver));
  };
  return under_test;
}

}  // namespace forkbox::sandbox::testing
