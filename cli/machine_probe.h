// What virtual machines need of this host, each found by trying it, and which design they would be
// of. Nothing is booted.
#pragma once

#include <string>
#include <vector>

#include "cli/host_probe.h"

namespace forkbox::cli {

// `image_dir` "": that of the installation. About a second, most of it reading the image. One
// thread, as the user who will start forkbox.
std::vector<Check> ProbeMachines(const std::string& image_dir = "");

}  // namespace forkbox::cli
