// What the interpreters of boxes need of the engine of this process.
#pragma once

#include "runner/execd/contexts.h"
#include "runner/sandbox/compiling_driver.h"

namespace forkbox::cli {

// The languages that are ready and have sessions; TypeScript by the engine's own transpiler. Of an
// open driver, which must outlive every user of the result.
execd::Contexts::Options SessionContexts(sandbox::CompilingDriver& driver);

}  // namespace forkbox::cli
