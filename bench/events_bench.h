// The row of events: from the moment a program prints to the moment a client that watches it has
// read that, over the whole of a server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bench/row.h"

namespace forkbox::bench {

// `yardstick` as in Row. A run is one line that a python program prints and does not print at once:
// 20 ms lie between them.
Row EventsRow(std::string name, std::string yardstick, std::uint16_t port,
              std::vector<pid_t> processes, std::size_t runs);

}  // namespace forkbox::bench
