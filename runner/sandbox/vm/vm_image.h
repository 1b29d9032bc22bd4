// VmImage: what a virtual machine boots: a kernel, an initrd with the agent, and two read-only
// disks (Debian's packages; our runtime). Made by `forkbox vm build`, never changed afterwards.
//
// A folder with image.json and the files that it names, named after its hash, beside others: those
// whose machines may still run. The link `current` leads to the one to take. Who binds the folder
// of them all sees each new one as well. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

// In the folder of the images.
inline constexpr const char* kCurrentImage = "current";
inline constexpr std::size_t kImageNameDigits = 12;  // hex, of VmImage::hash

// Names in an image's folder.
inline constexpr const char* kImageManifest = "image.json";
inline constexpr const char* kKernelFile = "vmlinuz";
inline constexpr const char* kInitrdFile = "initrd.cpio.gz";
inline constexpr const char* kBaseDisk = "base.erofs";        // /dev/vda
inline constexpr const char* kRuntimeDisk = "runtime.erofs";  // /dev/vdb, mounted as /opt/forkbox

struct VmImage {
  std::string folder;               // its own
  std::string name;                 // of that among the others; "" for one by itself
  std::string hash;                 // of all files: hex SHA-256 over the lines of the manifest
  std::string kernel;               // release: "6.1.0-56-cloud-amd64"
  std::uint32_t agent_version = 0;  // agent_protocol.h
  std::string runtime;  // hex SHA-256 of the runtime that it was made of: see RuntimeHash()

  // The current one of `folder`; or `folder` itself, where that is an image.
  // kUnavailable, with the command that makes one, when there is none, it is incomplete, a file is
  // not what the manifest says (all are hashed: a second), or it was made for another build of
  // forkbox (agent_version, or `runtime_hash` unless that is "").
  static Result<VmImage> Open(const std::string& folder, const std::string& runtime_hash);

  // The name of the one that is current; "" when there are no others beside it, or none at all.
  static std::string Current(const std::string& folder);
};

// Of a folder among the images.
bool IsImageName(std::string_view name);

// Of what goes into runtime.erofs and the initrd: paths, modes and contents of the runtime folder
// and of the guest's programs. The same for the same build wherever it lies.
Result<std::string> RuntimeHash(const std::string& runtime_dir,
                                const std::vector<std::string>& programs);

}  // namespace forkbox::sandbox::vm
