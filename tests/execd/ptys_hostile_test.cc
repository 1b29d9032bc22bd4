// Terminals whose program in the box has been taken over: it answers and sends what it likes.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "runner/execd/ptys.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::size_t CountDescriptors() {
  std::size_t count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

// There is nothing in it but the other ends of what a process has, with which the test does what a
// program could.
class EmptyBox : public sandbox::Box {
 public:
  struct Inside {
    UniqueFd status;
    UniqueFd channel;
    UniqueFd in;
    UniqueFd out;
  };
  std::function<void(Inside&)> begin;
  std::vector<Inside> started;

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    if (program.kind == sandbox::BoxProgram::Kind::kAgent) {
      return Fail(ErrorCode::kUnavailable, "no agents here");
    }
    sandbox::BoxProcess process;
    Inside inside;
    Pair(SOCK_SEQPACKET, &process.status, &inside.status);
    Pair(SOCK_STREAM, &process.channel, &inside.channel);
    Pipe(&inside.in, &process.stdin_pipe);
    Pipe(&process.stdout_pipe, &inside.out);
    process.pid = 7;
    begin(inside);
    started.push_back(std::move(inside));
    return process;
  }
  Result<void> Freeze() override { return {}; }
  Result<void> Thaw() override { return {}; }
  void End() override {}
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return {}; }
  [[nodiscard]] bool Alive() const override { return true; }

 private:
  static void Pair(int type, UniqueFd* ours, UniqueFd* theirs) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
    ours->Reset(ends[0]);
    theirs->Reset(ends[1]);
  }
  static void Pipe(UniqueFd* reader, UniqueFd* writer) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    reader->Reset(ends[0]);
    writer->Reset(ends[1]);
  }
};

bool SendWithDescriptors(int channel, std::string_view bytes, int descriptor, std::size_t count) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control{};
  std::string data(bytes);
  iovec part{data.data(), data.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = CMSG_SPACE(count * sizeof(int));
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(count * sizeof(int));
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &descriptor, sizeof descriptor);
  }
  return ::sendmsg(channel, &header, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

class Nobody : public Ptys::Client {
 public:
  bool OnReplay(std::uint64_t, std::string_view) override { return true; }
  bool OnConnected(bool) override { return true; }
  bool OnOutput(bool, std::string_view) override { return true; }
  void OnExit(int) override {}
  void OnTakenOver() override {}
  void OnError(std::string_view, std::string_view) override {}
};

TEST(HostilePtysTest, NoDescriptorsAreTakenAndNothingBlocks) {
  SystemClock clock;
  const UniqueFd master(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));  // blocking
  ASSERT_TRUE(master);
  for (const std::string said : {"O", "OOOO", "M", "MMMM"}) {
    EmptyBox box;
    box.begin = [&](EmptyBox::Inside& inside) {
      EXPECT_TRUE(SendWithDescriptors(inside.channel.get(), said, master.get(), 2));
    };
    Files files(box);
    auto ptys = std::make_unique<Ptys>(Environment(), box, files, clock, Log::Null());
    const auto id = ptys->Create("", "");
    ASSERT_TRUE(id);
    const std::size_t before = CountDescriptors();
    Nobody nobody;
    auto connection = ptys->Connect(*id, {}, nobody);
    // Either end of what a process has, twice: ours and theirs; and stop_. Nothing that was sent.
    if (said.front() == 'M') {
      EXPECT_FALSE(connection) << "it did not say that there is a terminal";
      EXPECT_LE(CountDescriptors(), before + 4);
      continue;
    }
    ASSERT_TRUE(connection) << connection.error().message;
    EXPECT_LE(CountDescriptors(), before + 9);
    // Nothing more can be left with us.
    EXPECT_FALSE(SendWithDescriptors(box.started[0].channel.get(), "more", master.get(), 16));
    const auto start = steady_clock::now();
    for (int i = 0; i < 100'000; ++i) (*connection)->Resize(80, 24);  // nobody takes them
    EXPECT_FALSE((*connection)->Input(std::string(1U << 20, 'x'))) << "it reads nothing";
    EXPECT_LT(steady_clock::now() - start, 40s);
    ptys.reset();
    connection->reset();
    EXPECT_LT(steady_clock::now() - start, 60s);
    box.started.clear();
    EXPECT_EQ(CountDescriptors(), before);
  }
}

TEST(HostilePtysTest, ATerminalThatNeverOpensHoldsNobodyUp) {
  SystemClock clock;
  EmptyBox box;
  box.begin = [](EmptyBox::Inside&) {};
  Files files(box);
  auto ptys = std::make_unique<Ptys>(Environment(), box, files, clock, Log::Null());
  const auto id = ptys->Create("", "");
  Nobody nobody;
  std::thread connecting([&] { EXPECT_FALSE(ptys->Connect(*id, {}, nobody)); });
  while (box.started.empty()) std::this_thread::sleep_for(1ms);
  const auto start = steady_clock::now();
  EXPECT_TRUE(ptys->Delete(*id));
  connecting.join();
  EXPECT_LT(steady_clock::now() - start, 8s) << "less than a terminal is waited for";
}

}  // namespace
}  // namespace forkbox::execd
