// BuildImage: makes the folder that VmImage::Open() opens, of Debian's packages (BaseDisk) and of
// this installation's runtime. The same inputs give the same bytes.
//
// It becomes the current one; that before it stays, since machines of it may run, older ones go.
//
// For operators' commands: one thread, a few processes, seconds, or minutes where the base has to
// be made. Builds at the same time wait for each other; one that is interrupted leaves nothing.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {

struct ImageBuildOptions {
  std::string output;  // absolute; the folder of images, see vm_image.h
  std::string cache;   // absolute; for base disks
  std::string base_script;
  std::string runtime_dir;
  std::string forkserver;
  std::string agent;
  bool fresh = false;  // with today's packages, even where a base disk is kept
  // A step begins. What it is, for people.
  std::function<void(std::string_view)> on_step = [](std::string_view) {};
  std::function<bool()> stopped = [] { return false; };
};

struct ImageBuild {
  VmImage image;
  bool was_there = false;  // nothing had to be made
};

// kInvalidArgument when the output is a folder with something else in it; kConflict when it was
// stopped; kUnavailable with the reason otherwise.
Result<ImageBuild> BuildImage(const ImageBuildOptions& options);

}  // namespace forkbox::sandbox::vm
