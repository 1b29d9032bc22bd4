// The rows of TypeScript: a program that was never seen before, and one that was, beside tsc and
// node, and esbuild and node.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/row.h"
#include "runner/sandbox/compiling_driver.h"

namespace forkbox::bench {

// `folder`: where the yardsticks may write. `port`, `servers`: of a server of ours. Nothing where
// there is no Node.js; without the yardsticks (scripts/setup.sh --bench) the engine's rows only.
void AddTypescriptRows(std::vector<Row>& rows, sandbox::CompilingDriver& driver,
                       const std::string& folder, std::uint16_t port,
                       const std::vector<pid_t>& servers, std::size_t scale);

}  // namespace forkbox::bench
