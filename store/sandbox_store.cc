#include "store/sandbox_store.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace forkbox::store {
namespace {

constexpr std::array<std::pair<SandboxState, std::string_view>, 8> kNames{
    {{SandboxState::kPending, "Pending"},
     {SandboxState::kRunning, "Running"},
     {SandboxState::kPausing, "Pausing"},
     {SandboxState::kPaused, "Paused"},
     {SandboxState::kResuming, "Resuming"},
     {SandboxState::kStopping, "Stopping"},
     {SandboxState::kTerminated, "Terminated"},
     {SandboxState::kFailed, "Failed"}}};

}  // namespace

std::string_view ToString(SandboxState state) {
  for (const auto& [value, name] : kNames) {
    if (value == state) return name;
  }
  return "Failed";
}

std::optional<SandboxState> SandboxStateOf(std::string_view text) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  for (const auto& [value, name] : kNames) {
    if (std::ranges::equal(name, text, same)) return value;
  }
  return std::nullopt;
}

bool IsFinal(SandboxState state) {
  return state == SandboxState::kTerminated || state == SandboxState::kFailed;
}

}  // namespace forkbox::store
