#include "bench/process_tree.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace forkbox::bench {

namespace {

struct Entry {
  pid_t parent = 0;
  long ticks = 0;
};

std::map<pid_t, Entry> Processes() {
  std::map<pid_t, Entry> processes;
  std::error_code error;
  for (const auto& folder : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(folder.path().filename().c_str());
    std::ifstream file(folder.path() / "stat");
    std::string line;
    if (pid <= 0 || !std::getline(file, line)) continue;
    // The name may contain anything, so fields are counted from its closing parenthesis.
    std::istringstream in(line.substr(line.rfind(')') + 2));
    std::string skip;
    Entry entry;
    in >> skip >> entry.parent;
    for (int i = 0; i < 9; ++i) in >> skip;
    for (int i = 0; i < 4; ++i) {  // utime, stime, cutime, cstime
      long ticks = 0;
      in >> ticks;
      entry.ticks += ticks;
    }
    processes[pid] = entry;
  }
  return processes;
}

std::set<pid_t> TreeAmong(const std::map<pid_t, Entry>& processes, pid_t root) {
  std::set<pid_t> tree{root};
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& [pid, entry] : processes) {
      if (tree.count(entry.parent) != 0 && tree.insert(pid).second) grew = true;
    }
  }
  return tree;
}

}  // namespace

std::set<pid_t> TreeOf(pid_t root) { return TreeAmong(Processes(), root); }

double TreeCpuMillis(pid_t root) {
  const std::map<pid_t, Entry> processes = Processes();
  long ticks = 0;
  for (const pid_t pid : TreeAmong(processes, root)) {
    const auto found = processes.find(pid);
    if (found != processes.end()) ticks += found->second.ticks;
  }
  return 1000.0 * static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace forkbox::bench
