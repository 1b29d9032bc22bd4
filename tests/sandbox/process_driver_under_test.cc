#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {

ProcessDriverOptions TestOptions(std::size_t pool_size) {
  ProcessDriverOptions options;
  options.forkserver_path = FORKBOX_FORKSERVER;
  options.runtime_dir = FORKBOX_RUNTIME;
  options.pool_size = pool_size;
  return options;
}

Result<std::unique_ptr<ProcessDriver>> StartProcessDriver(ProcessDriverOptions options) {
  auto driver = ProcessDriver::Start(std::move(options));
  if (!driver) return driver;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  if (auto opened = (*driver)->Open(deadline); !opened) return Fail(opened.error());
  return driver;
}

DriverUnderTest ProcessDriverUnderTest(std::size_t pool_size) {
  DriverUnderTest under_test;
  under_test.name = pool_size == 0 ? "process_unpooled" : "process";
  under_test.start = [pool_size]() -> Result<std::unique_ptr<Driver>> {
    auto driver = StartProcessDriver(TestOptions(pool_size));
    if (!driver) return Fail(driver.error());
    return std::unique_ptr<Driver>(std::move(*driver));
  };
  under_test.forkserver = [](const Driver& driver) {
    return dynamic_cast<const ProcessDriver&>(driver).forkserver_pid();
  };
  return under_test;
}

}  // namespace forkbox::sandbox::testing
