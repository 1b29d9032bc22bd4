#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/sandbox_store.h"

namespace forkbox::store {

// A store without any, for tests that are about something else.
class NoSandboxes : public SandboxStore {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  Result<void> Insert(const SandboxRecord&) override { return {}; }
  Result<std::optional<SandboxRecord>> Get(const std::string&) override {
    return std::optional<SandboxRecord>();
  }
  Result<SandboxPage> List(const SandboxQuery&) override { return SandboxPage(); }
  Result<bool> SetState(const std::string&, SandboxState, const std::string&, const std::string&,
                        std::int64_t) override {
    return false;
  }
  Result<bool> SetExpiry(const std::string&, std::int64_t) override { return false; }
  Result<bool> DeleteFailed(const std::string&, std::int64_t) override { return false; }
  Result<bool> SetMetadata(const std::string&, const Pairs&, const Pairs&) override {
    return false;
  }
  Result<std::uint64_t> FailOfRunner(const std::string&, const std::string&,
                                     std::int64_t) override {
    return std::uint64_t{0};
  }
  Result<std::uint64_t> FailOfLostRunners(std::int64_t, std::int64_t) override {
    return std::uint64_t{0};
  }
  Result<std::uint64_t> Prune(std::int64_t) override { return std::uint64_t{0}; }
};

}  // namespace forkbox::store
