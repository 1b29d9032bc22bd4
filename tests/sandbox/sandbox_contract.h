// The contract of sandbox::Driver as tests. A driver runs all of it by one line in its own test:
//
//   INSTANTIATE_TEST_SUITE_P(Process, SandboxContract, ::testing::Values(…), NameOf);
//
// linked with sandbox_contract.cc (what every language shares) and the *_semantics.cc files.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/sandbox/driver_under_test.h"

namespace forkbox::sandbox::testing {

class SandboxContract : public ::testing::TestWithParam<DriverUnderTest> {
 protected:
  Driver& driver() { return SharedDriver(GetParam()); }
  schema::Outcome Run(const Job& job) { return RunJob(driver(), job); }
};

// A language's programs must behave as under its stock interpreter. Same drivers, own suites, so
// that a driver without the language leaves the suite out.
class PythonSemantics : public SandboxContract {};
class BashSemantics : public SandboxContract {};
class PythonFunctions : public SandboxContract {};

inline std::string NameOf(const ::testing::TestParamInfo<DriverUnderTest>& info) {
  return info.param.name;
}

}  // namespace forkbox::sandbox::testing
