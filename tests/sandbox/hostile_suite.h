// Programs that mean harm, and what becomes of them, as tests of any driver. Each test asserts why
// the program ended, that the next one finds nothing of it, and that nothing of it is left on the
// host. A driver runs all of it by two lines in its own test:
//
//   INSTANTIATE_TEST_SUITE_P(Drivers, Hostile, ::testing::Values(…), NameOf);
//   INSTANTIATE_TEST_SUITE_P(Drivers, HostileProgram,
//       ::testing::Combine(::testing::Values(…), ::testing::ValuesIn(HostileCases())),
//       NameOfHostileCase);
//
// linked with hostile_suite.cc and leftovers_probe.cc, and built after the hostile_* executables.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "schema/execution.h"
#include "tests/sandbox/driver_under_test.h"
#include "tests/sandbox/leftovers_probe.h"

namespace forkbox::sandbox::testing {

// A program of programs/hostile and its end. What is not given is not looked at.
struct HostileCase {
  const char* program;
  schema::Reason reason;
  std::optional<int> exit_code;
  std::optional<std::string> out;
  std::optional<int> signal;
  std::function<void(schema::Limits*)> limits;
  bool must_get_somewhere = false;                           // before its limit of wall time
  std::optional<std::string> out_beside_announcements = {};  // DriverUnderTest::announces_exit
};
inline void PrintTo(const HostileCase& test, std::ostream* out) { *out << test.program; }
std::vector<HostileCase> HostileCases();

class HostileSuite : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] virtual const DriverUnderTest& under_test() const = 0;
  [[nodiscard]] pid_t forkserver() const { return under_test().forkserver(*driver_); }
  schema::Outcome Run(const Job& job) { return RunJob(*driver_, job); }

  Driver* driver_ = nullptr;
  std::string portrait_;  // what a job finds in the world when nothing was there before
  std::unique_ptr<LeftoversProbe> probe_;
};

class Hostile : public HostileSuite, public ::testing::WithParamInterface<DriverUnderTest> {
 protected:
  [[nodiscard]] const DriverUnderTest& under_test() const override { return GetParam(); }
};

class HostileProgram
    : public HostileSuite,
      public ::testing::WithParamInterface<std::tuple<DriverUnderTest, HostileCase>> {
 protected:
  [[nodiscard]] const DriverUnderTest& under_test() const override {
    return std::get<0>(GetParam());
  }
};

inline std::string NameOfHostileCase(
    const ::testing::TestParamInfo<std::tuple<DriverUnderTest, HostileCase>>& info) {
  std::string name = std::get<0>(info.param).name + "_" + std::get<1>(info.param).program;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

}  // namespace forkbox::sandbox::testing
