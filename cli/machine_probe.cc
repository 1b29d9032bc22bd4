#include "cli/machine_probe.h"

#include "cli/installation.h"
#include "runner/sandbox/vm/kvm_probe.h"
#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::cli {
namespace {

constexpr const char* kGroup = "virtual machines";

// Our errors say what is wrong and what mends it in one sentence.
Check Missing(const char* name, const Error& error) {
  return {kGroup, name, Finding::kOptional, error.message, ""};
}

}  // namespace

std::vector<Check> ProbeMachines(const std::string& image_dir) {
  std::vector<Check> checks;
  const sandbox::vm::KvmVerdict kvm = sandbox::vm::ProbeKvm();
  checks.push_back({kGroup, "kvm", kvm.usable ? Finding::kYes : Finding::kOptional, kvm.reason,
                    kvm.usable ? ""
                               : "without it virtual machines are emulated: enable (nested) "
                                 "virtualization and load kvm_intel or kvm_amd"});
  const auto qemu = sandbox::vm::QemuBuild();
  // What follows the version is for telling builds apart.
  checks.push_back(qemu ? Check{kGroup, "qemu", Finding::kYes, qemu->substr(0, qemu->find(';')), ""}
                        : Missing("qemu", qemu.error()));
  bool image_there = false;
  if (const auto installation = Installation::Find(); !installation) {
    checks.push_back(Missing("image", installation.error()));
  } else if (const auto hash = installation->VmRuntimeHash(); !hash) {
    checks.push_back(Missing("programs", hash.error()));
  } else {
    const auto image = sandbox::vm::VmImage::Open(
        image_dir.empty() ? installation->vm_image_dir : image_dir, *hash);
    image_there = image.has_value();
    checks.push_back(image ? Check{kGroup, "image", Finding::kYes,
                                   image->folder + ", Linux " + image->kernel, ""}
                           : Missing("image", image.error()));
  }
  if (qemu && image_there) {
    checks.push_back({kGroup, "design", Finding::kYes,
                      kvm.usable ? "snapshot, on kvm"
                                 : "live, on tcg; snapshot where that does not prove itself "
                                   "(--vm boots one and says)",
                      ""});
  }
  return checks;
}

}  // namespace forkbox::cli
