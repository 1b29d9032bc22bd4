// Machine: the virtual machine as QEMU is told to build it. The template and every fork of its
// memory must be the same machine to the letter, so there is one place that writes the words.
//
// Plain values and functions. Facts: QEMU 7.2 (Debian 12), qemu-system-x86_64(1),
// docs/decisions/vm-machine.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

enum class Accelerator { kTcg, kKvm };
std::string_view ToString(Accelerator accelerator);  // "tcg", "kvm"

// Where things are inside the root that QEMU sees (RootKind::kMachines).
inline constexpr const char* kQemuPath = "/usr/bin/qemu-system-x86_64";
inline constexpr const char* kImageFolder = "/image";  // vm_image.h: one image, or several

struct Machine {
  Accelerator accelerator = Accelerator::kTcg;
  std::uint64_t ram_bytes = 2ULL << 30;
  std::uint64_t tsc_khz = 0;  // of the host; the guest's kernel cannot find it out by itself
  std::string image = kImageFolder;  // the image's folder, as QEMU sees it
};

// Descriptors that QEMU inherits, by number.
struct MachineFds {
  int agent = -1;    // its end of the socket to the agent
  int monitor = -1;  // its end of the socket for QMP
  int ram = -1;      // memory file; -1: anonymous memory, which only lives as long as the process
};

// For -sandbox: QEMU's own filter, over that of its cell. With a snapshot it never starts a
// process; a template of live/ does, and its forks have a filter that is tighter than any of
// QEMU's.
inline constexpr const char* kSnapshotSandbox =
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

// Boots the image. `shared_ram`: what the guest writes is in the memory file, to be forked from.
// `sandbox`: the words after -sandbox; "" for none.
std::vector<std::string> BootCommand(const Machine& machine, const MachineFds& fds,
                                     std::string_view sandbox);
// Comes up as a copy: private RAM over the memory file, everything else from the state that it is
// told to load over QMP (migrate-incoming). Paused until "cont".
std::vector<std::string> ForkCommand(const Machine& machine, const MachineFds& fds,
                                     std::string_view sandbox);

// Everything about a machine that its saved state depends on: the machine line, devices, CPU flags
// and the build of QEMU (path, size, and its version as Debian numbers it), hashed. States and
// memory of one key must not be given to a machine of another.
std::string MachineKey(const Machine& machine, std::string_view qemu_build);

// Identifies the QEMU that is installed: version, size, inode and time of the file. kUnavailable
// with the command that installs it when there is none.
Result<std::string> QemuBuild();

// The host's time stamp counter, in kHz, measured against CLOCK_MONOTONIC_RAW in some 60 ms.
std::uint64_t MeasureTscKhz();

}  // namespace forkbox::sandbox::vm
