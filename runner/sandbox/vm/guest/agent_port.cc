#include "runner/sandbox/vm/guest/agent_port.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPorts = "/sys/class/virtio-ports";
constexpr std::string_view kPortName = "agent";  // as QEMU's command line has it
constexpr std::chrono::seconds kPortPatience{30};
// The driver hands out one of its buffers at a time, and they are pages.
constexpr std::size_t kReadBytes = 4096;

}  // namespace

Result<std::string> FindPort(const std::string& ports, std::string_view name) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(ports, error)) {
    std::ifstream file(entry.path() / "name");
    std::string found;
    if (std::getline(file, found) && found == name) {
      return "/dev/" + entry.path().filename().string();
    }
  }
  return Fail(ErrorCode::kNotFound, "there is no port " + std::string(name));
}

Result<AgentPort> AgentPort::Open() {
  const auto patience = std::chrono::steady_clock::now() + kPortPatience;
  for (;;) {
    auto path = FindPort(kPorts, kPortName);
    UniqueFd fd(path ? ::open(path->c_str(), O_RDWR | O_CLOEXEC) : -1);
    if (fd) return AgentPort(std::move(fd));
    if (std::chrono::steady_clock::now() >= patience) {
      if (!path) return Fail(path.error());
      return FailErrno(*path);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Result<Frame> AgentPort::Read() {
  std::array<char, kReadBytes> buffer;
  for (;;) {
    if (auto frame = reader_.Next()) return std::move(*frame);
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno("read from the host");
    if (n == 0) return Fail(ErrorCode::kUnavailable, "the host is gone");
    auto fed = reader_.Feed({buffer.data(), static_cast<std::size_t>(n)});
    if (!fed) return Fail(fed.error());
  }
}

bool AgentPort::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace forkbox::sandbox::vm
