// The driver of virtual machines under all suites that need no driver of their own, whichever way
// its machines are made: in one program, so that each template is booted once. In turns that are
// shards of one and the other design, GTEST_FILTER='*vm_live*' and '*vm_snapshot*' boot only
// theirs.
#include "tests/sandbox/hostile_suite.h"
#include "tests/sandbox/sandbox_contract.h"
#include "tests/sandbox/vm_driver_under_test.h"
#include "tests/sandbox/vm_machines.h"
#include "tests/sandbox/vm_mixed_jobs.h"

namespace forkbox::sandbox::testing {
namespace {

const auto kLive = ::testing::Values(VmDriverUnderTest(vm::Design::kLive));
const auto kBothDesigns = ::testing::Values(VmDriverUnderTest(vm::Design::kLive),
                                            VmDriverUnderTest(vm::Design::kSnapshot));

// The contract that the process driver keeps.
INSTANTIATE_TEST_SUITE_P(Drivers, SandboxContract, kBothDesigns, NameOf);

// What a language means is up to the guest, which is the same image with the same agent under
// either design: a machine's own part in it, output, limits and ends, is above and below.
INSTANTIATE_TEST_SUITE_P(Drivers, PythonSemantics, kLive, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, BashSemantics, kLive, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, PythonFunctions, kLive, NameOf);

// What means harm to it.
INSTANTIATE_TEST_SUITE_P(Drivers, Hostile, kBothDesigns, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, HostileProgram,
                         ::testing::Combine(kBothDesigns, ::testing::ValuesIn(HostileCases())),
                         NameOfHostileCase);

// What machines promise beyond that.
INSTANTIATE_TEST_SUITE_P(Drivers, VmMachines, kBothDesigns, NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, VmMixedJobs, kLive, NameOf);

}  // namespace
}  // namespace forkbox::sandbox::testing
