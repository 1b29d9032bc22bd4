#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {

Result<VmImage> VmImage::Open(const std::string& folder, const std::string& runtime_hash) {
  return Fail(ErrorCode::kUnavailable, "no image in " + folder + " for " + runtime_hash +
                                           ": make one with `forkbox vm build`");
}

Result<std::string> RuntimeHash(const std::string& runtime_dir,
                                const std::vector<std::string>& programs) {
  return Fail(ErrorCode::kUnavailable, runtime_dir + std::to_string(programs.size()));
}

}  // namespace forkbox::sandbox::vm
