#include "runner/sandbox/vm/live/shared_memory.h"

#include <fstream>
#include <sstream>

namespace forkbox::sandbox::vm {

// proc(5): "begin-end rwxs …".
std::string FindSharedMemory() {
  std::ifstream maps("/proc/self/maps");
  if (!maps) return "/proc/self/maps cannot be read";
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string range;
    std::string permissions;
    if (!(words >> range >> permissions) || permissions.size() != 4) return line;
    if (permissions[1] == 'w' && permissions[3] == 's') return line;
  }
  return {};
}

}  // namespace forkbox::sandbox::vm
