#include "runner/sandbox/common_environment.h"

namespace forkbox::sandbox {

std::map<std::string, std::string> CommonEnvironment() {
  return {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
          {"HOME", "/box/work"},
          {"TMPDIR", "/tmp"},
          {"LANG", "C.UTF-8"},
          {"USER", "sandbox"},
          {"LOGNAME", "sandbox"},
          {"SHELL", "/bin/bash"}};
}

}  // namespace forkbox::sandbox
