#include "runner/sandbox/wire.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <random>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/config.h"
#include "runner/sandbox/template/job_wire.h"

namespace forkbox::sandbox {
namespace {

// ------------------------------------------------------------------ fields

TEST(WireTest, WhatIsWrittenIsRead) {
  WireWriter out;
  out.U32(7);
  out.U64(1ULL << 40);
  out.Text(std::string_view("a\0b", 3));
  out.Text("");
  WireReader in(out.bytes());
  EXPECT_EQ(in.U32(), 7U);
  EXPECT_EQ(in.U64(), 1ULL << 40);
  EXPECT_EQ(in.Text(), std::string_view("a\0b", 3));
  EXPECT_EQ(in.Text(), "");
  EXPECT_TRUE(in.AtEnd());
}

TEST(WireTest, ReadingPastTheEndFailsOnceForAll) {
  WireReader in(std::string_view("\1\0\0", 3));
  EXPECT_EQ(in.U32(), 0U);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.Text(), "");
  EXPECT_FALSE(in.AtEnd());
}

TEST(WireTest, LengthsAndCountsBeyondTheBytesAreErrors) {
  for (const std::uint32_t claimed : {5U, 0x7fffffffU, 0xffffffffU}) {
    WireWriter out;
    out.U32(claimed);
    const std::string bytes = out.bytes() + "1234";
    WireReader text(bytes);
    EXPECT_EQ(text.Text(), "");
    EXPECT_FALSE(text.ok());
    WireReader count(bytes);
    EXPECT_EQ(count.Count(1), 0U);
    EXPECT_FALSE(count.ok());
  }
}

// ------------------------------------------------------------------ packets

class PacketTest : public ::testing::Test {
 protected:
  PacketTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    left_.Reset(ends[0]);
    right_.Reset(ends[1]);
  }
  static std::size_t OpenFds() {
    std::size_t count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  }
  UniqueFd left_;
  UniqueFd right_;
};

TEST_F(PacketTest, CarriesDescriptorsThatCloseOnExec) {
  const UniqueFd null(::open("/dev/null", O_RDONLY));  // not close-on-exec itself
  const std::array<int, 2> sent = {null.get(), null.get()};
  ASSERT_TRUE(SendPacket(left_.get(), "hi", 2, sent));
  char data[8];
  std::array<int, 4> fds{};
  std::size_t count = fds.size();
  ASSERT_EQ(RecvPacket(right_.get(), data, sizeof data, fds.data(), &count), 2);
  ASSERT_EQ(count, 2U);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(::fcntl(fds[i], F_GETFD), FD_CLOEXEC);
    ::close(fds[i]);
  }
}

TEST_F(PacketTest, WhatDoesNotFitIsRefusedWhole) {
  const std::size_t before = OpenFds();
  ASSERT_TRUE(SendPacket(left_.get(), "12345678", 8));
  char data[4];
  EXPECT_EQ(RecvPacket(right_.get(), data, sizeof data, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  // Descriptors nobody asked for, then more than were asked for.
  const std::array<int, 3> sent = {0, 1, 2};
  ASSERT_TRUE(SendPacket(left_.get(), "x", 1, sent));
  EXPECT_EQ(RecvPacket(right_.get(), data, sizeof data, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  ASSERT_TRUE(SendPacket(left_.get(), "x", 1, sent));
  std::array<int, 2> fds{};
  std::size_t count = fds.size();
  EXPECT_EQ(RecvPacket(right_.get(), data, sizeof data, fds.data(), &count), -1);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(OpenFds(), before) << "refused descriptors stay open";
  // More than a packet may have is refused by the sender.
  const std::vector<int> many(kMaxPacketFds + 1, 0);
  EXPECT_FALSE(SendPacket(left_.get(), "x", 1, many));
  EXPECT_EQ(errno, EMSGSIZE);
}

TEST_F(PacketTest, AGonePeerIsNoSignal) {
  right_.Reset();
  EXPECT_FALSE(SendPacket(left_.get(), "x", 1));
  EXPECT_EQ(errno, EPIPE);
  char data[4];
  EXPECT_EQ(RecvPacket(left_.get(), data, sizeof data, nullptr, nullptr), 0);
}

// ------------------------------------------------------------------ jobs

ChildJob SomeJob() {
  ChildJob job;
  job.entry = ChildJob::Entry::kFunction;
  job.file_name = "main.py";
  job.code = std::string("print()\0\xff", 9);
  job.args = {"", "a b"};
  job.command = {"/bin/sh", "-c"};
  job.env = {{"A", "1"}, {"B", ""}};
  job.artefacts = {"/tmp/main", "/tmp/more/"};
  job.cwd = "/tmp";
  job.reseed = true;
  return job;
}

std::string Body(const ChildJob& job, const std::vector<JobFile>& files) {
  const std::string frame = EncodeJob(job, files);
  std::uint64_t size = 0;
  std::memcpy(&size, frame.data(), sizeof size);
  EXPECT_EQ(size, frame.size() - sizeof size);
  return frame.substr(sizeof size);
}

TEST(JobWireTest, WhatIsEncodedIsDecoded) {
  const std::string body = Body(SomeJob(), {{"a/b", "content"}, {"empty", "", true}});
  ChildJob job;
  std::vector<JobFile> files;
  ASSERT_TRUE(DecodeJob(body, &job, &files));
  EXPECT_EQ(job.entry, ChildJob::Entry::kFunction);
  EXPECT_EQ(job.file_name, "main.py");
  EXPECT_EQ(job.code, SomeJob().code);
  EXPECT_EQ(job.args, SomeJob().args);
  EXPECT_EQ(job.command, SomeJob().command);
  EXPECT_EQ(job.env, SomeJob().env);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].path, "a/b");
  EXPECT_EQ(files[0].content, "content");
  EXPECT_FALSE(files[0].executable);
  EXPECT_TRUE(files[1].executable);
  EXPECT_EQ(job.artefacts, SomeJob().artefacts);
  EXPECT_EQ(job.cwd, "/tmp");
  EXPECT_TRUE(job.reseed);
}

TEST(JobWireTest, EveryTruncationAndAnythingBehindIsRefused) {
  const std::string body = Body(SomeJob(), {{"a", "b"}});
  for (std::size_t size = 0; size < body.size(); ++size) {
    ChildJob job;
    std::vector<JobFile> files;
    EXPECT_FALSE(DecodeJob(std::string_view(body).substr(0, size), &job, &files)) << size;
  }
  ChildJob job;
  std::vector<JobFile> files;
  EXPECT_FALSE(DecodeJob(body + "x", &job, &files));
}

TEST(JobWireTest, UnknownEntriesAndFlagsAreRefused) {
  for (const std::size_t at : {0, 4}) {
    std::string body = Body(SomeJob(), {});
    body[at] = 5;
    ChildJob job;
    std::vector<JobFile> files;
    EXPECT_FALSE(DecodeJob(body, &job, &files));
  }
}

TEST(JobWireTest, AnAnnouncementIsAnExitCodeAndNothingElse) {
  for (const int code : {0, 1, 120, 255}) EXPECT_EQ(ReadAnnouncement(Announcement(code)), code);
  EXPECT_EQ(ReadAnnouncement(Announcement(256 + 3)), 3) << "as exit(3) has it";
  for (const char* text : {"", "x", "v1", "x11"}) EXPECT_FALSE(ReadAnnouncement(text)) << text;
}

// Whatever the bytes: an answer, in bounded time and memory. A fixed seed, so that a failure
// repeats.
TEST(JobWireTest, NoBytesBreakTheReaders) {
  std::mt19937 random(20240229);
  const std::string good = Body(SomeJob(), {{"a", "b"}, {"c/d", std::string(100, 'x')}});
  ForkserverConfig config;
  config.templates = {{"python", {"/usr/bin/python3", "-x"}, {"A=1"}}};
  config.binds = {{"/usr", "/usr"}};
  const std::string good_config = config.Encode();
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = round % 2 == 0 ? good : good_config;
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < changes; ++i) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(random() % 2 == 0 ? 0xff : 0);
          break;
        case 2:
          bytes.resize(at + 1);
          break;
        default:
          bytes.insert(at, 1 + random() % 8, static_cast<char>(random()));
          break;
      }
    }
    ChildJob job;
    std::vector<JobFile> files;
    std::size_t held = 0;
    if (DecodeJob(bytes, &job, &files)) {
      for (const auto& file : files) held += file.path.size() + file.content.size();
      for (const auto& arg : job.args) held += arg.size();
      EXPECT_LE(held + job.code.size() + job.file_name.size(), bytes.size());
    }
    (void)ForkserverConfig::Decode(bytes);
  }
}

TEST(ForkserverConfigTest, WhatIsEncodedIsDecoded) {
  ForkserverConfig config;
  config.templates = {{"python", {"/usr/bin/python3", "-x"}, {"A=1"}}, {"exec", {"/x"}, {}, true}};
  config.binds = {{"/a", "/b"}};
  config.uid_base = 5;
  config.uid_count = 6;
  config.privileged = false;
  config.root = RootKind::kMachines;
  config.kvm = true;
  config.templates.back().filter = TemplateSpec::Filter::kMachine;
  const auto decoded = ForkserverConfig::Decode(config.Encode());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->Encode(), config.Encode());
  EXPECT_EQ(decoded->templates.at(0).command.at(1), "-x");
  EXPECT_FALSE(decoded->templates.at(0).lazy);
  EXPECT_TRUE(decoded->templates.at(1).lazy);
  EXPECT_EQ(decoded->templates.at(0).filter, TemplateSpec::Filter::kPrograms);
  EXPECT_EQ(decoded->templates.at(1).filter, TemplateSpec::Filter::kMachine);
  EXPECT_FALSE(decoded->privileged);
  EXPECT_EQ(decoded->root, RootKind::kMachines);
  EXPECT_TRUE(decoded->kvm);
  EXPECT_FALSE(ForkserverConfig::Decode(config.Encode() + "x"));
  EXPECT_FALSE(ForkserverConfig::Decode(""));
}

TEST(ForkserverConfigTest, WhatNobodyKnowsIsRefused) {
  ForkserverConfig root;
  root.root = static_cast<RootKind>(2);
  EXPECT_FALSE(ForkserverConfig::Decode(root.Encode()));
  ForkserverConfig filter;
  filter.templates.emplace_back().filter = static_cast<TemplateSpec::Filter>(2);
  EXPECT_FALSE(ForkserverConfig::Decode(filter.Encode()));
}

}  // namespace
}  // namespace forkbox::sandbox
