// What of an installation goes into a machine: the part of the runtime folder for the languages
// that the image has packages for, and the programs that run inside.
//
// Functions of the files as they are on the disk.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

struct GuestFile {
  std::string path;         // below the runtime folder
  std::string source;       // on this host; "" for a link
  std::string link_target;  // of a symbolic link, as it is
  bool executable = false;  // 0755, otherwise 0644
};

// The ids of the languages that a machine has.
std::vector<std::string> GuestLanguages();

// Sorted by path. kUnavailable with the path when the runtime is not there or cannot be read.
Result<std::vector<GuestFile>> GuestFiles(const std::string& runtime_dir);

}  // namespace forkbox::sandbox::vm
