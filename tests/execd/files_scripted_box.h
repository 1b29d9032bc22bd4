// A box whose agents are functions of the test, at the other end of a socket pair.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runner/execd/agent/agent_channel.h"
#include "runner/execd/agent/request_loop.h"
#include "runner/execd/files.h"
#include "runner/sandbox/wire.h"

namespace forkbox::execd::testing {

using namespace std::chrono_literals;
using Peer = std::function<void(int channel)>;

// Starts these, one after the other; then the last again and again.
class ScriptedBox : public sandbox::Box {
 public:
  explicit ScriptedBox(std::vector<Peer> peers) : peers_(std::move(peers)) {}
  ~ScriptedBox() override { Join(); }

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    EXPECT_EQ(program.kind, sandbox::BoxProgram::Kind::kAgent);
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const std::lock_guard lock(mutex_);
    const Peer& peer = peers_[std::min(started_.load(), peers_.size() - 1)];
    ++started_;
    threads_.emplace_back([peer, end = ends[1]] {
      peer(end);
      ::close(end);
    });
    sandbox::BoxProcess process;
    process.channel.Reset(ends[0]);
    return process;
  }
  Result<void> Freeze() override {
    frozen_ = true;
    return {};
  }
  Result<void> Thaw() override {
    frozen_ = false;
    return {};
  }
  [[nodiscard]] bool Frozen() const override { return frozen_; }
  void End() override { alive_ = false; }
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return {}; }
  [[nodiscard]] bool Alive() const override { return alive_; }

  // All peers have seen their ends.
  void Join() { threads_.clear(); }
  std::size_t started() const { return started_; }
  void AwaitStarted(std::size_t count) const {
    while (started_ < count) std::this_thread::sleep_for(1ms);
  }

 private:
  const std::vector<Peer> peers_;
  std::mutex mutex_;
  std::atomic<std::size_t> started_ = 0;
  std::vector<std::jthread> threads_;
  std::atomic<bool> alive_ = true;
  std::atomic<bool> frozen_ = false;
};

// ---- what a peer may do

inline void SendBytes(int channel, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(channel, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

inline std::string Header(FrameKind kind, std::uint32_t size) {
  const FrameHeader header{static_cast<std::uint32_t>(kind), size};
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

inline std::string Frame(FrameKind kind, const std::string& body) {
  return Header(kind, static_cast<std::uint32_t>(body.size())) + body;
}

inline std::string Begun(const std::string& temporary = "") {
  return Frame(FrameKind::kBegun, EncodeText(temporary));
}
inline std::string Done(const std::string& text = "") {
  return Frame(FrameKind::kDone, EncodeAnswer({.number = 0, .text = text}));
}
inline std::string Entry(const std::string& path = "/x") {
  FileInfo info;
  info.path = path;
  std::string body;
  AppendEntry(info, &body);
  return body;
}

inline void AwaitRequest(int channel) {
  FrameKind kind{};
  std::string body;
  AgentChannel(channel).Receive(&kind, &body);
}

inline void AwaitEnd(int channel) { AgentChannel(channel).Drain(); }

// Says this to the first request, and waits for the end.
inline Peer Says(std::string bytes) {
  return [bytes = std::move(bytes)](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, bytes);
    AwaitEnd(channel);
  };
}

// Answers with these descriptors.
inline Peer Hands(std::function<std::vector<UniqueFd>()> make) {
  return [make = std::move(make)](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, Begun());
    const std::vector<UniqueFd> made = make();
    std::vector<int> descriptors;
    for (const UniqueFd& fd : made) {
      EXPECT_TRUE(fd) << std::strerror(errno);
      descriptors.push_back(fd.get());
    }
    const std::string frame = Done("/x");
    (void)sandbox::SendPacket(channel, frame.data(), frame.size(), descriptors);
    AwaitEnd(channel);
  };
}

inline std::vector<UniqueFd> One(int fd) {
  std::vector<UniqueFd> fds;
  fds.emplace_back(fd);
  return fds;
}

class FilesPeers : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "files_peers_XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    descriptors_ = CountDescriptors();
  }
  void TearDown() override {
    std::filesystem::remove_all(directory_);
    EXPECT_EQ(CountDescriptors(), descriptors_);
  }

  static std::size_t CountDescriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      ++count;
    }
    return count;
  }

  [[nodiscard]] Peer Honest() const {
    return [work = directory_](int channel) {
      ServeRequests({.channel = channel, .work_path = work});
    };
  }

  static Files::Patience Short() { return {.begin = 200ms, .quick = 500ms, .whole = 700ms}; }

  std::string directory_;
  std::size_t descriptors_ = 0;
};

}  // namespace forkbox::execd::testing
