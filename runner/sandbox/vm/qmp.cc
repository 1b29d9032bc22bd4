#include "runner/sandbox/vm/qmp.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <span>

#include "runner/sandbox/wire.h"
#include "schema/json.h"

namespace forkbox::sandbox::vm {
namespace {

using nlohmann::json;

// No answer that we ask for is deeper or larger.
constexpr schema::JsonLimits kLimits{16, 4096, Qmp::kMaxLine};
constexpr std::size_t kMaxQuoted = 200;  // of QEMU's words, in ours

int MillisUntil(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

tl::unexpected<Error> NotQmp() {
  return Fail(ErrorCode::kUnavailable, "what came from QEMU's monitor is not QMP");
}

// False once the deadline is over.
bool WaitFor(int socket, short events, Deadline deadline) {
  pollfd polled{socket, events, 0};
  for (;;) {
    const int ready = ::poll(&polled, 1, MillisUntil(deadline));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// The descriptor goes with the first byte.
Result<void> SendAll(int socket, std::string_view bytes, std::optional<int> fd, Deadline deadline) {
  if (fd) {
    if (!SendPacket(socket, bytes.data(), 1, std::span<const int>(&*fd, 1))) {
      return FailErrno("pass a file to QEMU");
    }
    bytes.remove_prefix(1);
  }
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Fail(ErrorCode::kUnavailable, "QEMU is gone");
    if (!WaitFor(socket, POLLOUT, deadline)) {
      return Fail(ErrorCode::kDeadlineExceeded, "QEMU's monitor takes no commands");
    }
  }
  return {};
}

// The error that an answer is, if it is one.
Result<void> CheckError(const json& answer) {
  const auto error = answer.find("error");
  if (error == answer.end()) return {};
  if (!error->is_object()) return NotQmp();
  const auto words = error->find("desc");
  if (words == error->end() || !words->is_string()) return NotQmp();
  return Fail(ErrorCode::kInternal,
              "QEMU: " + words->get_ref<const std::string&>().substr(0, kMaxQuoted));
}

}  // namespace

std::string QmpCommand(std::string_view command, const json& arguments) {
  json line = {{"execute", std::string(command)}};
  if (!arguments.is_null()) line["arguments"] = arguments;
  return schema::DumpJson(line) + "\n";
}

Result<void> Qmp::Greet(Deadline deadline) {
  auto greeting = ReadObject(deadline);
  if (!greeting) return Fail(greeting.error());
  if (!greeting->contains("QMP")) return NotQmp();
  auto answer = Execute("qmp_capabilities", nullptr, deadline);
  if (!answer) return Fail(answer.error());
  return {};
}

Result<json> Qmp::Execute(std::string_view command, const json& arguments, Deadline deadline,
                          std::optional<int> fd) {
  const std::uint32_t id = ++last_id_;
  json line = {{"execute", std::string(command)}, {"id", id}};
  if (!arguments.is_null()) line["arguments"] = arguments;
  if (auto sent = SendAll(socket_, schema::DumpJson(line) + "\n", fd, deadline); !sent) {
    return Fail(sent.error());
  }
  for (std::size_t lines = 0; lines < kMaxLinesPerCall; ++lines) {
    auto answer = ReadObject(deadline);
    if (!answer) return answer;
    if (answer->contains("event")) continue;
    const auto answered = answer->find("id");
    if (answered == answer->end() || *answered != id) return NotQmp();
    if (auto ok = CheckError(*answer); !ok) return Fail(ok.error());
    const auto value = answer->find("return");
    if (value == answer->end()) return NotQmp();
    return json(std::move(*value));
  }
  return NotQmp();
}

Result<json> Qmp::AwaitEvent(std::string_view name, Deadline deadline) {
  for (std::size_t lines = 0; lines < kMaxLinesPerCall; ++lines) {
    auto message = ReadObject(deadline);
    if (!message) return message;
    if (auto ok = CheckError(*message); !ok) return Fail(ok.error());
    const auto event = message->find("event");
    if (event == message->end() || *event != name) continue;
    const auto data = message->find("data");
    return data == message->end() ? json::object() : json(std::move(*data));
  }
  return NotQmp();
}

Result<json> Qmp::ReadObject(Deadline deadline) {
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = held_.find('\n', searched);
    if (end != std::string::npos) {
      auto object = schema::ParseJson(std::string_view(held_).substr(0, end), kLimits);
      held_.erase(0, end + 1);
      if (!object || !object->is_object()) return NotQmp();
      return object;
    }
    searched = held_.size();
    if (held_.size() >= kMaxLine) return NotQmp();
    if (!WaitFor(socket_, POLLIN, deadline)) {
      return Fail(ErrorCode::kDeadlineExceeded, "QEMU's monitor does not answer");
    }
    std::array<char, 4096> buffer;
    const std::size_t room = std::min(buffer.size(), kMaxLine - held_.size());
    const ssize_t n = ::recv(socket_, buffer.data(), room, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return Fail(ErrorCode::kUnavailable, "QEMU is gone");
    held_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace forkbox::sandbox::vm
