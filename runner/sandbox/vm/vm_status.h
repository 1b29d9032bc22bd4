// VmStatus: how the virtual machines of a driver are, for health, doctor and logs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox::sandbox::vm {

enum class VmState { kStarting, kReady, kRebuilding, kFailed };
constexpr std::string_view ToString(VmState state) {
  switch (state) {
    case VmState::kStarting:
      return "starting";
    case VmState::kReady:
      return "ready";
    case VmState::kRebuilding:
      return "rebuilding";
    case VmState::kFailed:
      return "failed";
  }
  return "?";
}

struct VmStatus {
  VmState state = VmState::kStarting;
  std::string accelerator;  // "tcg", "kvm"
  std::string design;       // "live", "snapshot": how forks are made; "" until it is known
  std::string reason;       // why not ready; or, ready, why not the faster way
  std::string kvm;          // what the probe said
  std::string image;        // VmImage::hash
  std::uint64_t ram_bytes = 0;
  std::uint64_t templates_booted = 0;
};

}  // namespace forkbox::sandbox::vm
