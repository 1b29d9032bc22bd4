// Hundreds of jobs of all kinds from several clients at once: each gets its own answer, and at the
// end everything is as before. Of one driver, vm_suites_test.cc.
#pragma once

#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {

class VmMixedJobs : public SandboxContract {};

}  // namespace forkbox::sandbox::testing
