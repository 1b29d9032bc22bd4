// What this host and our privileges really allow, each found by trying it in a child process: a
// version number or a config file says what should be, not what is.
#pragma once

#include <string>
#include <vector>

namespace forkbox::cli {

enum class Finding {
  kYes,
  kNo,        // a sandbox is weaker, or impossible, without it
  kOptional,  // not there, and only some features need it
};

struct Check {
  std::string group;  // "namespaces"
  std::string name;   // "pid"
  Finding finding = Finding::kNo;
  std::string detail;  // what was seen
  std::string remedy;  // how to get it; empty when there is nothing to do
};

// Takes some milliseconds. One thread, and for the full truth as the user who will start forkbox.
std::vector<Check> ProbeHost();

}  // namespace forkbox::cli
