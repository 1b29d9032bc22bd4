// Initrd: what the kernel unpacks before anything else: the agent as /init, and the modules that it
// loads to reach its disks. As a cpio archive of the "newc" format (Linux:
// Documentation/driver-api/early-userspace/buffer-format.rst).
//
// A function of its arguments: the same contents give the same bytes.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace forkbox::sandbox::vm {

struct InitrdContents {
  std::string agent;  // the program itself
  // Names and contents, in the order in which they are loaded.
  std::vector<std::pair<std::string, std::string>> modules;
};

std::string EncodeInitrd(const InitrdContents& contents);

}  // namespace forkbox::sandbox::vm
