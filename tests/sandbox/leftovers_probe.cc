#include "tests/sandbox/leftovers_probe.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

// Teardown is asynchronous and the machine may be busy; what is really left over stays for ever.
constexpr std::chrono::seconds kPatience{20};
constexpr std::chrono::milliseconds kLookAgain{5};

// The parent's pid from /proc/<pid>/stat, which follows the ")" of the name.
pid_t ParentOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  if (end == std::string::npos) return -1;
  std::istringstream rest(line.substr(end + 1));
  std::string state;
  pid_t parent = -1;
  rest >> state >> parent;
  return parent;
}

std::size_t Lines(const std::string& path) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

std::string ProgramOf(pid_t pid) {
  std::error_code error;
  return fs::read_symlink("/proc/" + std::to_string(pid) + "/exe", error).string();
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Footprint& footprint) {
  return out << footprint.processes << " processes, " << footprint.cgroups << " cgroups, fds "
             << footprint.own_fds << " own, " << footprint.forkserver_fds << " forkserver's, "
             << footprint.template_fds << " templates', " << footprint.mounts << " mounts, "
             << footprint.ready << " ready forks";
}

std::vector<pid_t> ProcessTree(pid_t ancestor) {
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    children.emplace(ParentOf(pid), pid);
  }
  std::vector<pid_t> tree = {ancestor};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [from, to] = children.equal_range(tree[i]);
    for (auto child = from; child != to; ++child) tree.push_back(child->second);
  }
  return tree;
}

std::vector<pid_t> TemplatesOf(pid_t forkserver) {
  std::vector<pid_t> templates;
  const std::string own = ProgramOf(forkserver);
  for (const pid_t pid : ProcessTree(forkserver)) {
    if (pid == forkserver || ParentOf(pid) != forkserver) continue;
    const std::string program = ProgramOf(pid);
    if (!program.empty() && program != own) templates.push_back(pid);
  }
  return templates;
}

std::vector<std::string> CgroupsOf(pid_t forkserver) {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry :
       fs::directory_iterator("/proc/" + std::to_string(forkserver) + "/fd", error)) {
    const std::string target = fs::read_symlink(entry.path(), error).filename();
    if (target.rfind("forkbox", 0) == 0 && target.find('-') != std::string::npos &&
        target != "forkbox-forkserver") {
      names.insert(target);
    }
  }
  return {names.begin(), names.end()};
}

std::vector<std::pair<std::string, std::size_t>> FindCgroups(const std::string& name) {
  std::vector<std::pair<std::string, std::size_t>> found;
  std::error_code error;
  auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at("/sys/fs/cgroup", options, error), end; at != end;
       at.increment(error)) {
    if (!at->is_directory(error) || at->is_symlink(error)) {
      continue;
    }
    if (at->path().filename() == name) {
      at.disable_recursion_pending();
      std::size_t cells = 0;
      for (const auto& cell : fs::directory_iterator(at->path(), error)) {
        cells += cell.is_directory(error) ? 1 : 0;
      }
      found.emplace_back(at->path(), cells);
    }
  }
  return found;
}

std::size_t OpenFds(pid_t pid) {
  std::size_t count = 0;
  std::error_code error;
  for (fs::directory_iterator at("/proc/" + std::to_string(pid) + "/fd", error), end; at != end;
       at.increment(error)) {
    std::error_code gone;
    // The forkserver keeps a bounded number of unused ones, more or fewer after each run.
    if (fs::read_symlink(at->path(), gone).string().rfind("net:[", 0) == 0) continue;
    ++count;
  }
  return count;
}

std::size_t ResidentBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

LeftoversProbe::LeftoversProbe(const Driver& driver, pid_t forkserver,
                               std::chrono::milliseconds rest)
    : driver_(driver), forkserver_(forkserver) {
  // At rest is what stays the same for a while.
  const auto give_up = steady_clock::now() + kPatience;
  auto since = steady_clock::now();
  before_ = Now();
  while (steady_clock::now() - since < rest && steady_clock::now() < give_up) {
    std::this_thread::sleep_for(kLookAgain);
    const Footprint now = Now();
    if (now == before_) continue;
    before_ = now;
    since = steady_clock::now();
  }
}

Footprint LeftoversProbe::Now() const {
  const pid_t forkserver = forkserver_;
  Footprint now;
  now.processes = ProcessTree(forkserver).size();
  for (const std::string& name : CgroupsOf(forkserver)) {
    for (const auto& [path, cells] : FindCgroups(name)) now.cgroups += cells;
  }
  now.own_fds = OpenFds(::getpid());
  now.forkserver_fds = OpenFds(forkserver);
  for (const pid_t pid : TemplatesOf(forkserver)) now.template_fds += OpenFds(pid);
  now.mounts =
      Lines("/proc/self/mountinfo") + Lines("/proc/" + std::to_string(forkserver) + "/mountinfo");
  now.ready = driver_.Stats().pool_ready;
  return now;
}

std::string LeftoversProbe::WaitUntilClean() {
  const auto give_up = steady_clock::now() + kPatience;
  Footprint now = Now();
  while (!(now == before_) && steady_clock::now() < give_up) {
    std::this_thread::sleep_for(kLookAgain);
    now = Now();
  }
  if (now == before_) return "";
  std::ostringstream text;
  text << "before: " << before_ << "; now: " << now << "; processes:";
  for (const pid_t pid : ProcessTree(forkserver_)) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    std::string name;
    std::getline(status, name);
    text << "\n  " << pid << " under " << ParentOf(pid) << ' ' << name << ' ' << ProgramOf(pid);
  }
  return text.str();
}

}  // namespace forkbox::sandbox::testing
