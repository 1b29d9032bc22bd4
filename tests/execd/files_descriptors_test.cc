// Descriptors out of boxes: none is used that is not what was asked for, and none is left open.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/execd/files_scripted_box.h"

namespace forkbox::execd::testing {
namespace {

TEST_F(FilesPeers, OpenTakesNothingButFilesToRead) {
  const std::string path = directory_ + "/f";
  const auto file = [path](int flags) {
    return One(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  };
  { const auto made = file(O_WRONLY | O_CREAT); }
  ASSERT_EQ(::mkfifo((directory_ + "/fifo").c_str(), 0600), 0);
  const std::function<std::vector<UniqueFd>()> bad[] = {
      [] { return std::vector<UniqueFd>(); },
      [&] { return file(O_WRONLY); },
      [&] { return file(O_RDWR); },
      [&] { return file(O_PATH); },
      [&] { return One(::open(directory_.c_str(), O_RDONLY | O_CLOEXEC)); },
      [&] {
        return One(::open((directory_ + "/fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      },
      [] { return One(::open("/dev/zero", O_RDONLY | O_CLOEXEC)); },
      // Files, but what is read is the reader's: here the host's.
      [] { return One(::open("/proc/sys/kernel/hostname", O_RDONLY | O_CLOEXEC)); },
      [] {
        return One(::open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC));
      },
      [] { return One(::memfd_create("x", MFD_CLOEXEC)); },  // which can be written
      [] { return One(::eventfd(0, EFD_CLOEXEC)); },
      [] { return One(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); },
      [&] {
        auto two = file(O_RDONLY);
        two.push_back(std::move(file(O_RDONLY).front()));
        return two;
      },
      [&] {
        std::vector<UniqueFd> many;
        for (int i = 0; i < 16; ++i) many.push_back(std::move(file(O_RDONLY).front()));
        return many;
      },
  };
  for (std::size_t i = 0; i < std::size(bad); ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({Hands(bad[i])});
    {
      Files files(box, Short());
      const auto open = files.Open("f");
      ASSERT_FALSE(open);
      EXPECT_EQ(open.error().code, ErrorCode::kInternal);
    }
    box.Join();
  }
  ScriptedBox box({Hands([&] { return file(O_RDONLY); })});
  {
    Files files(box, Short());
    const auto open = files.Open("f");
    ASSERT_TRUE(open) << open.error().message;
    EXPECT_TRUE((::fcntl(open->file.get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  box.Join();
}

UniqueFd Listener(std::uint16_t* port) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(listener.get(), 8), 0);
  EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  *port = ntohs(address.sin_port);
  return listener;
}

int Connected(int type, std::uint16_t port) {
  const int made = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(made, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return made;
}

TEST_F(FilesPeers, ConnectTakesNothingButConnectionsToThatPort) {
  std::uint16_t port = 0;
  std::uint16_t other_port = 0;
  const UniqueFd listener = Listener(&port);
  const UniqueFd other = Listener(&other_port);
  const std::function<std::vector<UniqueFd>()> bad[] = {
      [] { return std::vector<UniqueFd>(); },
      [&] { return One(Connected(SOCK_DGRAM, port)); },
      [&] { return One(Connected(SOCK_STREAM, other_port)); },
      [] { return One(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); },
      [&] { return One(::fcntl(listener.get(), F_DUPFD_CLOEXEC, 0)); },
      [] {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        ::close(ends[1]);
        return One(ends[0]);
      },
      [] { return One(::open("/dev/null", O_RDONLY | O_CLOEXEC)); },
  };
  for (std::size_t i = 0; i < std::size(bad); ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({Hands(bad[i])});
    {
      Files files(box, Short());
      const auto connected = files.Connect(port);
      ASSERT_FALSE(connected);
      EXPECT_EQ(connected.error().code, ErrorCode::kInternal);
    }
    box.Join();
  }
  ScriptedBox box({Hands([&] { return One(Connected(SOCK_STREAM, port)); })});
  {
    Files files(box, Short());
    const auto connected = files.Connect(port);
    ASSERT_TRUE(connected) << connected.error().message;
    EXPECT_TRUE((::fcntl(connected->get(), F_GETFL) & O_NONBLOCK) != 0);
  }
  box.Join();
}

TEST_F(FilesPeers, NoOperationLeavesADescriptorBehind) {
  std::uint16_t port = 0;
  const UniqueFd listener = Listener(&port);
  ScriptedBox box({Honest()});
  {
    Files files(box);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(files.MakeDirectory("a/b/c", {.owner = "", .group = "", .mode = 0700}));
      auto upload = files.Create("a/f", {});
      ASSERT_TRUE(upload && (*upload)->Write("text") && (*upload)->Commit());
      auto dropped = files.Create("a/g", {});
      ASSERT_TRUE(dropped && (*dropped)->Write("text"));
      dropped->reset();
      EXPECT_EQ(files.Replace({"a/f", "t", "T"}).value(), 2U);
      EXPECT_FALSE(files.Replace({"a/nothing", "t", "T"}));
      EXPECT_EQ(files.Open("a/f")->size, 4U);
      EXPECT_FALSE(files.Open("a"));
      EXPECT_EQ(files.List(".", 9)->size(), 4U);
      EXPECT_EQ(files.Search(".", "*")->size(), 1U);
      EXPECT_FALSE(files.Search(".", "["));
      EXPECT_FALSE(files.List("a/f", 1));
      EXPECT_TRUE(files.SetPermission("a/f", {.owner = "", .group = "", .mode = 0600}));
      EXPECT_TRUE(files.Move("a/f", "a/h"));
      EXPECT_TRUE(files.CheckDirectory("a"));
      EXPECT_TRUE(files.Remove("a/h"));
      EXPECT_TRUE(files.Connect(port));
      EXPECT_FALSE(files.Connect(1));
      EXPECT_FALSE(files.Signal(0x3fffffff, 0, false));
      EXPECT_TRUE(files.RemoveTree("a"));
    }
    EXPECT_EQ(box.started(), 1U);
  }
  box.Join();
}

}  // namespace
}  // namespace forkbox::execd::testing
