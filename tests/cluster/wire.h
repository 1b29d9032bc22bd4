// Wire: a TCP connection that a test can cut. It forwards a port of its own to another one.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/unique_fd.h"

namespace forkbox::tests {

class Wire {
 public:
  explicit Wire(std::uint16_t to_port);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }

  // From now on what either side sends is swallowed, and nobody is told.
  void Silence() { silent_ = true; }

 private:
  void Run(const std::stop_token& stop);

  const std::uint16_t to_port_;
  std::uint16_t port_ = 0;
  UniqueFd listener_;
  std::atomic<bool> silent_{false};
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace forkbox::tests
