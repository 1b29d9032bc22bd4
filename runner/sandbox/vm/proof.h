// What the forks of a template must show before any program of a stranger runs in one.
#pragma once

#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::vm {

// Asks two forks, which are there at the same time, for their languages and what their processors
// draw, which must not be the same; and has two more run a program: each must give the known
// answer, and each other randomness. The languages, or an Error that says what was shown instead.
Result<std::vector<LanguageStatus>> Prove(MachineSource& source, std::string_view accelerator,
                                          Deadline deadline);

}  // namespace forkbox::sandbox::vm
