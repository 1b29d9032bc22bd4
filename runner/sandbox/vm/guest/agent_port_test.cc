#include "runner/sandbox/vm/guest/agent_port.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// A folder as the kernel shows it.
class PortsFolder {
 public:
  PortsFolder() {
    std::string path = (fs::temp_directory_path() / "ports-XXXXXX").string();
    path_ = ::mkdtemp(path.data());
  }
  ~PortsFolder() { fs::remove_all(path_); }
  PortsFolder(const PortsFolder&) = delete;
  PortsFolder& operator=(const PortsFolder&) = delete;

  void Add(const std::string& device, const std::string& name) const {
    fs::create_directories(path_ / device);
    std::ofstream(path_ / device / "name") << name << '\n';
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

TEST(FindPort, IsTheOneOfThatName) {
  const PortsFolder ports;
  ports.Add("vport0p0", "console");
  ports.Add("vport0p1", "agent");
  ports.Add("vport1p1", "agents");
  EXPECT_EQ(FindPort(ports.path(), "agent").value(), "/dev/vport0p1");
}

TEST(FindPort, NoneIsAnError) {
  const PortsFolder ports;
  ports.Add("vport0p1", "other");
  fs::create_directories(fs::path(ports.path()) / "vport0p2");  // not named yet
  EXPECT_EQ(FindPort(ports.path(), "agent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(FindPort(ports.path() + "/missing", "agent").error().code, ErrorCode::kNotFound);
}

class AgentPortTest : public testing::Test {
 protected:
  AgentPortTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    host_.Reset(ends[0]);
    port_.emplace(UniqueFd(ends[1]));
  }
  void Say(std::string_view bytes) const {
    ASSERT_EQ(::write(host_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  UniqueFd host_;
  std::optional<AgentPort> port_;
};

TEST_F(AgentPortTest, AFrameMayComeInPieces) {
  const std::string frame = EncodeDescribe({.clock_unix_ns = 5});
  std::thread slow([&] {
    for (const char byte : frame) Say({&byte, 1});
  });
  const auto read = port_->Read();
  slow.join();
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->kind, FrameKind::kDescribe);
  EXPECT_EQ(DecodeDescribe(read->body)->clock_unix_ns, 5);
}

TEST_F(AgentPortTest, WhatIsNoFrameOfAHostIsRefused) {
  Say(EncodeReady());
  EXPECT_EQ(port_->Read().error().code, ErrorCode::kInvalidArgument);
}

TEST_F(AgentPortTest, AHostThatIsGoneIsAnError) {
  Say("\x08");
  host_.Reset();
  EXPECT_EQ(port_->Read().error().code, ErrorCode::kUnavailable);
}

// More than fits: it is waited for, and all of it arrives.
TEST_F(AgentPortTest, AHostThatReadsSlowlyGetsItAll) {
  const std::string text(4U << 20, 'x');
  std::size_t got = 0;
  std::thread host([&] {
    char buffer[4096];
    while (got < text.size()) {
      const ssize_t n = ::read(host_.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      got += static_cast<std::size_t>(n);
    }
  });
  EXPECT_TRUE(port_->Write(text));
  host.join();
  EXPECT_EQ(got, text.size());
}

}  // namespace
}  // namespace forkbox::sandbox::vm
