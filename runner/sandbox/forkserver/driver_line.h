// DriverLine: the control socket as the forkserver sees it (protocol.h). What is said may be said
// by any thread; one of them listens.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "runner/sandbox/protocol.h"

namespace forkbox::sandbox {

class DriverLine {
 public:
  explicit DriverLine(UniqueFd control) : control_(std::move(control)) {}

  // The next request; false when the driver is gone.
  bool Hear(ForkRequest* request);

  void SayReady(std::uint32_t protections);
  // The forkserver cannot work, and why.
  void SayFailed(const std::string& why);
  void SayTemplateReady(std::size_t index);
  void SayTemplateFailed(std::size_t index, const std::string& reason);

  // Each request gets one of these. The descriptors are on their way when it returns. `box`: the
  // name of a new one.
  void Answer(const ForkRequest& request, std::span<const int> fds = {}, std::uint64_t box = 0);
  // `error` as in ControlMessage; EIO for 0.
  void Refuse(const ForkRequest& request, int error, const std::string& text);

 private:
  void Say(ControlMessage message, const std::string& text, std::span<const int> fds = {});

  UniqueFd control_;
  std::mutex saying_;
};

}  // namespace forkbox::sandbox
