// What the suites here run against: a started driver that every test of an executable shares, and
// the few words it takes to run a program in it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "base/result.h"
#include "runner/sandbox/driver.h"
#include "schema/execution.h"

namespace forkbox::sandbox::testing {

struct DriverUnderTest {
  std::string name;  // "process"; tests are named after it
  std::function<Result<std::unique_ptr<Driver>>()> start;
  int cpu_factor = 1;  // what it multiplies limits of processor time by, and so usage
  int slowness = 1;    // how much longer programs may take to get somewhere
  // The process of a script has a socket to say its own exit code on, and its machine ends then.
  bool announces_exit = false;
  std::function<pid_t(const Driver&)> forkserver = {};
};
inline void PrintTo(const DriverUnderTest& driver, std::ostream* out) { *out << driver.name; }

// The driver of that name, started by the first test that asks and ended after the last one. Must
// be asked for first on the main thread.
Driver& SharedDriver(const DriverUnderTest& under_test);

// One program and how to run it. The limits are small, so that hostile programs meet them soon, and
// wall time is generous, so that honest ones pass on a busy machine.
struct Job {
  std::string language = "python";
  schema::Source source;
  schema::Limits limits;
  EventSink sink;

  Job() = default;
  Job(std::string in_language, std::string code) : language(std::move(in_language)) {
    source.code = std::move(code);
    limits.wall = std::chrono::seconds(60);
    limits.cpu = std::chrono::seconds(60);
  }
};

inline Job Python(std::string code) { return {"python", std::move(code)}; }
inline Job Bash(std::string code) { return {"bash", std::move(code)}; }

// Forks and runs. An Error of Fork() becomes a kSandboxFailed outcome with its message.
schema::Outcome RunJob(Driver& driver, const Job& job);

bool IsReady(const Driver& driver, const std::string& language);

// Everything about an outcome on a few lines, for a failed expectation.
std::string Describe(const schema::Outcome& outcome);

// Reads a whole file; the test fails if there is none.
std::string ReadFile(const std::string& path);

}  // namespace forkbox::sandbox::testing
