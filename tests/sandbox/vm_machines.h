// What machines promise beyond the contract of drivers: that forks of one template are machines of
// their own, that they know the time, and that outcomes say what they ran in.
#pragma once

#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {

class VmMachines : public SandboxContract {};

}  // namespace forkbox::sandbox::testing
