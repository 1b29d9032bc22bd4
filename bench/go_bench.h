// The rows of Go: a program that was never seen before, and one that was, beside `go run` with a
// warm build cache.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/row.h"
#include "runner/sandbox/compiling_driver.h"

namespace forkbox::bench {

// `folder`: where `go run` may keep its cache and sources. `port`, `servers`: of a server of ours.
// Nothing where Go is not installed; that is said on stdout.
void AddGoRows(std::vector<Row>& rows, sandbox::CompilingDriver& driver, const std::string& folder,
               std::uint16_t port, const std::vector<pid_t>& servers, std::size_t scale);

}  // namespace forkbox::bench
