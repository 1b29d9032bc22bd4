// Memory that forks of this process would go on sharing, to write to.
#pragma once

#include <string>

namespace forkbox::sandbox::vm {

// The first such mapping as /proc/self/maps has it, or "". A descriptor need not have stayed open.
std::string FindSharedMemory();

}  // namespace forkbox::sandbox::vm
