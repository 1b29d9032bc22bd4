#include "runner/languages/bash/process_tree.h"

#include <dirent.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace forkbox::languages {
namespace {

std::string ReadAll(const std::string& path) {
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char piece[4096];
    for (std::size_t n = 0; (n = std::fread(piece, 1, sizeof piece, file)) > 0;) {
      text.append(piece, n);
    }
    std::fclose(file);
  }
  return text;
}

}  // namespace

std::vector<pid_t> ChildrenOf(pid_t parent) {
  const std::string id = std::to_string(parent);
  const std::string text = ReadAll("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> children;
  const char* at = text.c_str();
  for (char* end = nullptr;; at = end) {
    const long child = std::strtol(at, &end, 10);
    if (end == at) return children;
    children.push_back(static_cast<pid_t>(child));
  }
}

std::vector<pid_t> DescendantsOf(const std::vector<pid_t>& roots,
                                 const std::function<bool(pid_t)>& counts) {
  std::multimap<pid_t, pid_t> children;
  if (DIR* proc = ::opendir("/proc")) {
    while (const dirent* entry = ::readdir(proc)) {
      const auto pid = static_cast<pid_t>(std::atol(entry->d_name));
      if (pid <= 0) continue;
      // "7 (name with any bytes) S 1 …": the parent follows the state (proc(5)).
      const std::string stat = ReadAll("/proc/" + std::string(entry->d_name) + "/stat");
      const std::size_t name_end = stat.rfind(')');
      if (name_end == std::string::npos || name_end + 4 >= stat.size()) continue;
      children.emplace(static_cast<pid_t>(std::atol(stat.c_str() + name_end + 4)), pid);
    }
    ::closedir(proc);
  }
  std::vector<pid_t> found;
  const auto add = [&](pid_t parent, bool all) {
    const auto [begin, end] = children.equal_range(parent);
    for (auto child = begin; child != end; ++child) {
      if (all || counts(child->second)) found.push_back(child->second);
    }
  };
  for (const pid_t root : roots) add(root, false);
  for (std::size_t i = 0; i < found.size(); ++i) add(found[i], true);
  return found;
}

}  // namespace forkbox::languages
