// Whether /dev/kvm gives hardware virtualisation that is worth using. A device that can be opened
// proves nothing: where the host is itself a guest without nesting, it is there and thousands of
// times too slow. So a small loop runs on a virtual CPU and is timed.
#pragma once

#include <string>

namespace forkbox::sandbox::vm {

struct KvmVerdict {
  bool usable = false;
  std::string reason;  // why not, or how fast: "1.1 M iterations/s of CPU time, wants 100"
};

// Runs in a process of its own, which is killed after two seconds: a hanging ioctl(2) holds nothing
// up for longer, and a busy host still gets it done. Call with the privileges that open the device
// (root), before there are threads.
KvmVerdict ProbeKvm(const std::string& device = "/dev/kvm");

}  // namespace forkbox::sandbox::vm
