// The process driver keeps the contract, with ready forks and without.
#include "tests/sandbox/process_driver_under_test.h"
#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(Drivers, SandboxContract,
                         ::testing::Values(ProcessDriverUnderTest(3), ProcessDriverUnderTest(0)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, PythonSemantics, ::testing::Values(ProcessDriverUnderTest(3)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, BashSemantics, ::testing::Values(ProcessDriverUnderTest(3)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, PythonFunctions, ::testing::Values(ProcessDriverUnderTest(3)),
                         NameOf);

}  // namespace
}  // namespace forkbox::sandbox::testing
