// What the launcher of machines is told, once, over its channel, and what QEMU then inherits:
//
//   u32 size of what follows, with the descriptors    (SCM_RIGHTS, in the order of LaunchFd)
//   u32 count of words, each a text                   (wire.h)
//
// From then on the channel is the machine's: QEMU's end of the socket to the agent.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace forkbox::sandbox::vm {

// Descriptors of QEMU, besides the standard streams.
inline constexpr int kAgentFd = 3;
inline constexpr int kMonitorFd = 4;
inline constexpr int kRamFd = 5;    // the memory file
inline constexpr int kStateFd = 6;  // what a fork loads

// Those that come with the launch, the first as kMonitorFd and so on.
enum LaunchFd : std::size_t { kLaunchMonitor, kLaunchRam, kLaunchState, kLaunchFdCount };

inline constexpr std::size_t kMaxLaunchBytes = 16U << 10;
inline constexpr std::size_t kMaxLaunchWords = 256;

// The whole packet, size included. Longer than kMaxLaunchBytes: not to be sent.
std::string EncodeLaunch(const std::vector<std::string>& words);
// Of what follows the size: nullopt for what EncodeLaunch() did not write, for no words, for too
// many, and for one with a NUL inside.
std::optional<std::vector<std::string>> DecodeLaunch(std::string_view body);

}  // namespace forkbox::sandbox::vm
