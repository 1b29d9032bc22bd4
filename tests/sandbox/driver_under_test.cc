#include "tests/sandbox/driver_under_test.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <map>
#include <sstream>

namespace forkbox::sandbox::testing {
namespace {

// Ends the drivers before main() returns: their threads must not meet static destruction.
class Drivers : public ::testing::Environment {
 public:
  void TearDown() override { running.clear(); }
  std::map<std::string, std::unique_ptr<Driver>> running;
};

Drivers* const drivers = [] {
  ::signal(SIGPIPE, SIG_IGN);
  auto* environment = new Drivers();  // owned by GoogleTest from here on
  ::testing::AddGlobalTestEnvironment(environment);
  return environment;
}();

}  // namespace

Driver& SharedDriver(const DriverUnderTest& under_test) {
  std::unique_ptr<Driver>& driver = drivers->running[under_test.name];
  if (driver == nullptr) {
    auto started = under_test.start();
    if (!started) {
      std::fprintf(stderr, "driver %s: %s\n", under_test.name.c_str(),
                   started.error().message.c_str());
      std::abort();  // no test can say anything without it
    }
    driver = std::move(*started);
  }
  return *driver;
}

schema::Outcome RunJob(Driver& driver, const Job& job) {
  auto sandbox = driver.ForkFor(job.language, job.limits, job.source.code, job.source.entry);
  if (!sandbox) {
    schema::Outcome outcome;
    outcome.message = "Fork: " + sandbox.error().message;
    return outcome;
  }
  return (*sandbox)->Run(job.source, job.sink);
}

bool IsReady(const Driver& driver, const std::string& language) {
  for (const LanguageStatus& status : driver.Languages()) {
    if (status.id == language) return status.ready;
  }
  return false;
}

std::string Describe(const schema::Outcome& outcome) {
  std::ostringstream text;
  text << "state " << schema::ToString(outcome.state) << ", reason "
       << schema::ToString(outcome.reason);
  if (outcome.exit_code) text << ", exit " << *outcome.exit_code;
  if (outcome.signal) text << ", signal " << *outcome.signal;
  if (!outcome.message.empty()) text << ", " << outcome.message;
  text << ", cpu " << outcome.usage.cpu.count() << " us, wall " << outcome.usage.wall.count()
       << " us, peak " << outcome.usage.peak_memory_bytes
       << " bytes\nstdout: " << outcome.stdout_text.substr(0, 4000)
       << "\nstderr: " << outcome.stderr_text.substr(0, 4000);
  return text.str();
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace forkbox::sandbox::testing
