// What the agent does for its whole life: one request after the other, until nobody asks any more.
#pragma once

#include <string>

namespace forkbox::execd {

struct RequestLoopOptions {
  int channel = -1;
  std::string work_path;  // what relative paths are below
  std::string passwd_path = "/etc/passwd";
  std::string group_path = "/etc/group";
};

// Returns at the end of the channel, or after what breaks its rules.
void ServeRequests(const RequestLoopOptions& options);

}  // namespace forkbox::execd
