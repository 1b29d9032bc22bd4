// What a sandbox root is put together from. Run once, in a mount namespace that is the forkserver's
// own, before the host's tree is given up; paths are the host's.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

Result<void> WriteText(const std::string& path, const std::string& text);
Result<void> MakeDirectories(const std::string& path);
// A folder, or a single file. What is mounted below the source does not come with it.
Result<void> BindReadOnly(const std::string& source, const std::string& target);
// Each at its target below `root`, which is made: a folder for a folder, a file for a file.
Result<void> BindAll(const std::string& root, std::span<const BindSpec> binds);
// /bin, /lib64 and others, where they are links into /usr.
Result<void> CopyUsrLinks(const std::string& root);

struct DeviceNode {
  const char* name;  // below /dev
  unsigned major;
  unsigned minor;
};
// Open to everybody inside. Without privileges these are the host's own, mode and all.
Result<void> MakeDevice(const std::string& root, const DeviceNode& device, bool privileged);

}  // namespace forkbox::sandbox
