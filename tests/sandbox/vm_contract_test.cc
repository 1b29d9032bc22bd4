// The driver of virtual machines keeps the contract that the process driver keeps, whichever way
// its machines are made.
#include "tests/sandbox/sandbox_contract.h"
#include "tests/sandbox/vm_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

const auto kBothDesigns = ::testing::Values(VmDriverUnderTest(vm::Design::kLive),
                                            VmDriverUnderTest(vm::Design::kSnapshot));

INSTANTIATE_TEST_SUITE_P(Drivers, SandboxContract, kBothDesigns, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, PythonSemantics, kBothDesigns, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, BashSemantics, kBothDesigns, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, PythonFunctions, kBothDesigns, NameOf);

}  // namespace
}  // namespace forkbox::sandbox::testing
