#include "runner/sandboxes/entrypoint.h"

namespace forkbox::sandboxes {

bool IsIdleEntrypoint(const std::vector<std::string>& argv) {
  static const std::vector<std::string> kIdle{"tail", "-f", "/dev/null"};
  return argv.empty() || argv == kIdle;
}

std::string EntrypointCommand(const std::vector<std::string>& argv) {
  std::string line = "exec";
  for (const std::string& word : argv) {
    line += " '";
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

}  // namespace forkbox::sandboxes
