// Where the parts of forkbox are: beside the program, as the build leaves them or as it is
// installed.
//
// Plain values. For an installation in PREFIX, and for a build tree in BUILD:
//
//   forkserver       PREFIX/lib/forkbox/forkbox-forkserver   BUILD/runner/sandbox/…
//   runtime_dir      PREFIX/lib/forkbox/runtime              BUILD/runtime
//   vm_programs_dir  PREFIX/lib/forkbox/vm-programs          BUILD/vm-programs
//   vm_image_dir     /var/lib/forkbox/vm-image               BUILD/vm-image
//   vm_cache_dir     /var/cache/forkbox/vm-base              BUILD/../.deps/vm-base
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace forkbox::cli {

struct Installation {
  std::string forkserver;
  std::string runtime_dir;
  std::string vm_programs_dir;  // its programs may be missing: machines are optional
  std::string vm_image_dir;     // there once `forkbox vm build` has run
  std::string vm_cache_dir;     // what `forkbox vm build` keeps from one time to the next

  // kUnavailable, with the paths where it looked, when the forkserver or the runtime is missing.
  static Result<Installation> Find();

  [[nodiscard]] std::string VmAgent() const { return vm_programs_dir + "/forkbox-vm-agent"; }
  // Of what a machine's image is made of here (vm_image.h); a quarter of a second. kUnavailable
  // with the path of what is missing.
  [[nodiscard]] Result<std::string> VmRuntimeHash() const;
};

}  // namespace forkbox::cli
