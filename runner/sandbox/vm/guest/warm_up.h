// WarmUp: real jobs of every language that is ready, so that all which they touch is in memory and,
// under emulation, translated. Forks of the machine inherit it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "runner/sandbox/compiling_driver.h"
#include "runner/sandbox/vm/guest/job_server.h"

namespace forkbox::sandbox::vm {

// Programs that are unlike each other, for one after the other. Some fail, as programs do.
std::vector<schema::Source> WarmUpPrograms(const LanguageStatus& language);

// Runs them all, through the very code that jobs go through. Afterwards the pools are full and
// nothing is going on any more. An Error: the machine is of no use.
Result<void> WarmUp(CompilingDriver& driver, JobServer& server, const Log& log);

}  // namespace forkbox::sandbox::vm
