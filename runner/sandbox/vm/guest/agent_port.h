// AgentPort: the guest's end of the serial port to the host. See agent_protocol.h for what is said.
//
// One thread. Reading and writing block: a host that does not take what is written is waited for,
// and with it whatever produces it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/vm/agent_protocol.h"

namespace forkbox::sandbox::vm {

// The device of the port that the host called `name`: "/dev/vport0p1". kNotFound if there is none.
// `ports`: a folder as /sys/class/virtio-ports is, with a folder for each, and in it its name.
Result<std::string> FindPort(const std::string& ports, std::string_view name);

class AgentPort {
 public:
  // Waits for it to be there: the driver looks for ports in the background.
  static Result<AgentPort> Open();
  explicit AgentPort(UniqueFd fd) : fd_(std::move(fd)) {}

  // The next frame of the host. kInvalidArgument for what cannot be one; kUnavailable when the host
  // is gone.
  Result<Frame> Read();
  // Whole. False when the host is gone.
  [[nodiscard]] bool Write(std::string_view bytes);

 private:
  UniqueFd fd_;
  FrameReader reader_{Reads::kJobs};
};

}  // namespace forkbox::sandbox::vm
