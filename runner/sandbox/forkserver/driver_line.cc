#include "runner/sandbox/forkserver/driver_line.h"

#include <cerrno>
#include <cstring>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {

bool DriverLine::Hear(ForkRequest* request) {
  for (;;) {
    const ssize_t size = RecvPacket(control_.get(), request, sizeof *request, nullptr, nullptr);
    if (size <= 0) return false;
    if (size == sizeof *request) return true;
  }
}

void DriverLine::SayReady(std::uint32_t protections) {
  ControlMessage message;
  message.kind = ControlKind::kReady;
  message.flags = protections;
  Say(message, "");
}

void DriverLine::SayFailed(const std::string& why) {
  ControlMessage message;
  message.kind = ControlKind::kReady;
  message.error = EPERM;
  Say(message, why);
}

void DriverLine::SayTemplateReady(std::size_t index) {
  ControlMessage message;
  message.kind = ControlKind::kTemplate;
  message.template_index = static_cast<std::uint32_t>(index);
  Say(message, "");
}

void DriverLine::SayTemplateFailed(std::size_t index, const std::string& reason) {
  ControlMessage message;
  message.kind = ControlKind::kTemplate;
  message.template_index = static_cast<std::uint32_t>(index);
  message.error = ECHILD;
  Say(message, reason);
}

void DriverLine::Answer(const ForkRequest& request, std::span<const int> fds, std::uint64_t box) {
  ControlMessage message;
  message.kind = ControlKind::kForked;
  message.request_id = request.request_id;
  message.box = box;
  Say(message, "", fds);
}

void DriverLine::Refuse(const ForkRequest& request, int error, const std::string& text) {
  ControlMessage message;
  message.kind = ControlKind::kForked;
  message.request_id = request.request_id;
  message.error = error != 0 ? error : EIO;
  Say(message, text);
}

void DriverLine::Say(ControlMessage message, const std::string& text, std::span<const int> fds) {
  std::strncpy(message.text.data(), text.c_str(), message.text.size() - 1);
  std::lock_guard lock(saying_);
  (void)SendPacket(control_.get(), &message, sizeof message, fds);
}

}  // namespace forkbox::sandbox
