#include "cli/installation.h"

#include <filesystem>
#include <system_error>

#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::cli {

namespace fs = std::filesystem;

Result<Installation> Installation::Find() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return Fail(ErrorCode::kUnavailable, "/proc/self/exe: " + error.message());
  const fs::path base = self.parent_path().parent_path();
  const fs::path lib = base / "lib/forkbox";
  const Installation places[] = {
      {.forkserver = base / "runner/sandbox/forkbox-forkserver",
       .runtime_dir = base / "runtime",
       .vm_programs_dir = base / "vm-programs",
       .vm_image_dir = base / "vm-image",
       .vm_cache_dir = base.parent_path() / ".deps/vm-base"},
      {.forkserver = lib / "forkbox-forkserver",
       .runtime_dir = lib / "runtime",
       .vm_programs_dir = lib / "vm-programs",
       .vm_image_dir = "/var/lib/forkbox/vm-image",
       .vm_cache_dir = "/var/cache/forkbox/vm-base"},
  };
  for (const Installation& place : places) {
    if (fs::exists(place.forkserver, error) &&
        fs::exists(place.runtime_dir + "/manifests", error)) {
      return place;
    }
  }
  return Fail(ErrorCode::kUnavailable, "incomplete installation: neither " + places[0].forkserver +
                                           " nor " + places[1].forkserver +
                                           " is there with its runtime folder");
}

Result<std::string> Installation::VmRuntimeHash() const {
  return sandbox::vm::RuntimeHash(runtime_dir, {forkserver, VmAgent()});
}

}  // namespace forkbox::cli
