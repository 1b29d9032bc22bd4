// Files against agents that are no agents: whatever sits at the other end of the channel, each
// operation ends in time, with an error or the right answer, and nothing of it remains.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
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
#include "schema/utf8.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using Peer = std::function<void(int channel)>;

// Starts these, one after the other; then the last again and again.
class ScriptedBox final : public sandbox::Box {
 public:
  explicit ScriptedBox(std::vector<Peer> peers) : peers_(std::move(peers)) {}
  ~ScriptedBox() override { Join(); }

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    EXPECT_EQ(program.kind, sandbox::BoxProgram::Kind::kAgent);
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const std::lock_guard lock(mutex_);
    const Peer& peer = peers_[std::min(started_, peers_.size() - 1)];
    ++started_;
    threads_.emplace_back([peer, end = ends[1]] {
      peer(end);
      ::close(end);
    });
    sandbox::BoxProcess process;
    process.channel.Reset(ends[0]);
    return process;
  }
  Result<void> Freeze() override { return {}; }
  Result<void> Thaw() override { return {}; }
  void End() override { alive_ = false; }
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return {}; }
  [[nodiscard]] bool Alive() const override { return alive_; }

  // All peers have seen their ends.
  void Join() { threads_.clear(); }
  std::size_t started() const { return started_; }

 private:
  const std::vector<Peer> peers_;
  std::mutex mutex_;
  std::size_t started_ = 0;
  std::vector<std::jthread> threads_;
  std::atomic<bool> alive_ = true;
};

// ---- what a peer may do

void SendBytes(int channel, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(channel, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string Header(FrameKind kind, std::uint32_t size) {
  const FrameHeader header{static_cast<std::uint32_t>(kind), size};
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::string Frame(FrameKind kind, const std::string& body) {
  return Header(kind, static_cast<std::uint32_t>(body.size())) + body;
}

std::string Begun() { return Frame(FrameKind::kBegun, EncodeText("")); }
std::string Done(const std::string& text = "") {
  return Frame(FrameKind::kDone, EncodeAnswer({.number = 0, .text = text}));
}
std::string Entry(const std::string& path = "/x") {
  FileInfo info;
  info.path = path;
  std::string body;
  AppendEntry(info, &body);
  return body;
}

void AwaitRequest(int channel) {
  FrameKind kind{};
  std::string body;
  AgentChannel(channel).Receive(&kind, &body);
}

void AwaitEnd(int channel) { AgentChannel(channel).Drain(); }

// Says this to the first request, and waits for the end.
Peer Says(std::string bytes) {
  return [bytes = std::move(bytes)](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, bytes);
    AwaitEnd(channel);
  };
}

// Answers with these descriptors.
Peer Hands(std::function<std::vector<UniqueFd>()> make) {
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

std::vector<UniqueFd> One(int fd) {
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

TEST_F(FilesPeers, LiesOfEveryKindEndInAnError) {
  const std::string huge = Header(FrameKind::kDone, 0xffffffffU);
  const Peer peers[] = {
      [](int) {},
      AwaitRequest,
      Says("no frame at all, by no means"),
      Says(std::string(100'000, '\xff')),
      Says(huge),
      Says(Begun() + huge),
      Says(Begun() + Header(FrameKind::kEntries, kMaxReplyBytes + 1)),
      Says(Frame(FrameKind::kRequest, "")),
      Says(Frame(FrameKind::kData, "x")),
      Says(Frame(static_cast<FrameKind>(99), "")),
      Says(Done()),
      Says(Frame(FrameKind::kEntries, Entry())),
      Says(Frame(FrameKind::kBegun, "")),
      Says(Frame(FrameKind::kBegun, std::string(16, '\xff'))),
      Says(Begun() + Begun()),
      Says(Begun() + Frame(FrameKind::kEntries, "garbage")),
      Says(Begun() + Frame(FrameKind::kEntries, Entry("relative"))),
      Says(Begun() + Frame(FrameKind::kDone, "x")),
      Says(Begun() + Frame(FrameKind::kFailed, "x")),
      Says(Begun() + Frame(FrameKind::kFailed, std::string(8, '\xff'))),
      Says(Begun() + Done()),  // an Info() without its entry
      Says(Begun() + Frame(FrameKind::kEntries, Entry() + Entry()) + Done()),
      [](int channel) {
        AwaitRequest(channel);
        SendBytes(channel, Begun().substr(0, 5));
      },
  };
  for (std::size_t i = 0; i < std::size(peers); ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({peers[i]});
    {
      Files files(box, Short());
      const auto info = files.Info("x");
      ASSERT_FALSE(info);
      EXPECT_EQ(info.error().code, ErrorCode::kInternal) << info.error().message;
      EXPECT_LE(box.started(), 2U);
    }
    box.Join();
  }
  // And with an honest one to turn to, nobody sees that there was another.
  for (std::size_t i = 0; i < 20; ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({peers[i], Honest()});
    {
      Files files(box, Short());
      const auto info = files.Info(".");
      ASSERT_TRUE(info) << info.error().message;
      EXPECT_EQ(info->path, directory_);
    }
    box.Join();
  }
}

TEST_F(FilesPeers, SilenceAndDripsEndInTime) {
  std::atomic<bool> over = false;
  const Peer peers[] = {
      AwaitEnd,
      [](int channel) {
        AwaitRequest(channel);
        AwaitEnd(channel);
      },
      Says(Begun()),
      Says(Begun() + Header(FrameKind::kDone, 12)),
      [&over](int channel) {  // a byte at a time, of a frame that is long
        AwaitRequest(channel);
        SendBytes(channel, Begun() + Header(FrameKind::kEntries, 400'000));
        while (!over && ::send(channel, "x", 1, MSG_NOSIGNAL) == 1) {
          std::this_thread::sleep_for(5ms);
        }
      },
  };
  for (const Peer& peer : peers) {
    ScriptedBox box({peer});
    const auto start = steady_clock::now();
    {
      Files files(box, Short());
      const auto info = files.Info("x");
      ASSERT_FALSE(info);
      EXPECT_EQ(info.error().code, ErrorCode::kInternal);
      EXPECT_THAT(info.error().message, HasSubstr("in time"));
    }
    EXPECT_LT(steady_clock::now() - start, 20s);
    over = true;
    box.Join();
    over = false;
  }
}

TEST_F(FilesPeers, FloodsAreBounded) {
  const auto flood = [](const std::string& frame) -> Peer {
    return [frame](int channel) {
      AwaitRequest(channel);
      SendBytes(channel, Begun());
      for (;;) {
        std::string_view rest = frame;
        while (!rest.empty()) {
          const ssize_t n = ::send(channel, rest.data(), rest.size(), MSG_NOSIGNAL);
          if (n <= 0) return;
          rest.remove_prefix(static_cast<std::size_t>(n));
        }
      }
    };
  };
  std::string many;
  for (int i = 0; i < 1000; ++i) many += Entry();
  for (const std::string& frame :
       {Frame(FrameKind::kEntries, many),
        Frame(FrameKind::kEntries, Entry("/" + std::string(60'000, 'x'))),
        Frame(FrameKind::kEntries, ""), Begun()}) {
    ScriptedBox box({flood(frame)});
    {
      Files files(box, Short());
      const auto listed = files.List("x", 1);
      ASSERT_FALSE(listed);
      EXPECT_EQ(listed.error().code, ErrorCode::kInternal);
    }
    box.Join();
  }
}

TEST_F(FilesPeers, ErrorsAreTextWhateverTheySay) {
  ScriptedBox box({Says(
      Begun() + Frame(FrameKind::kFailed, EncodeFailure({ErrorCode::kConflict, "a\xff\xfe z"})))});
  {
    Files files(box, Short());
    const auto removed = files.Remove("x");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, ErrorCode::kConflict);
    EXPECT_TRUE(schema::IsValidUtf8(removed.error().message));
    EXPECT_EQ(box.started(), 1U);  // that was an answer
  }
  box.Join();
}

TEST_F(FilesPeers, WhatCannotBeDoneTwiceIsNot) {
  const Peer dies_after_begun = [](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, Begun());
  };
  struct Case {
    const char* name;
    Peer first;
    bool repeated;
  };
  for (const Case& c :
       {Case{"dies before", AwaitRequest, true}, Case{"never begins", AwaitEnd, true},
        Case{"begins too late",
             [](int channel) {
               AwaitRequest(channel);
               std::this_thread::sleep_for(400ms);
               // Nobody hears it, and so it would not begin.
               EXPECT_FALSE(AgentChannel(channel).Send(FrameKind::kBegun, ""));
             },
             true},
        Case{"dies after", dies_after_begun, false}}) {
    SCOPED_TRACE(c.name);
    ScriptedBox box({c.first, Says(Begun() + Done())});
    {
      Files files(box, {.begin = 200ms, .quick = 5s, .whole = 5s});
      const auto moved = files.Move("a", "b");
      EXPECT_EQ(moved.has_value(), c.repeated);
      EXPECT_EQ(box.started(), c.repeated ? 2U : 1U);
    }
    box.Join();
  }
  ScriptedBox box({dies_after_begun, Says(Begun() + Done())});
  {
    Files files(box, Short());
    EXPECT_TRUE(files.Remove("a"));  // this can
  }
  box.Join();
}

TEST_F(FilesPeers, WhoSpeaksUnaskedIsNotAskedAgain) {
  ScriptedBox box({Says(Begun() + Done() + Done()), Honest()});
  {
    Files files(box, Short());
    EXPECT_TRUE(files.Remove("x"));
    EXPECT_TRUE(files.Info("."));
    EXPECT_TRUE(files.Info("."));
    EXPECT_EQ(box.started(), 2U);
  }
  box.Join();
}

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

TEST_F(FilesPeers, UploadsToWhomeverEndInTimeAndAreCleanedUp) {
  const std::string left = directory_ + "/.left";
  const auto begun = [&] { return Frame(FrameKind::kBegun, EncodeText(left)) + Done(); };
  struct Case {
    const char* name;
    Peer peer;
    bool commits;
  };
  const Case cases[] = {
      {"dies at once",
       [&](int channel) {
         AwaitRequest(channel);
         SendBytes(channel, begun());
       },
       false},
      {"reads nothing",
       [&](int channel) {
         AwaitRequest(channel);
         SendBytes(channel, begun());
         std::this_thread::sleep_for(1500ms);
       },
       false},
      {"is done too early", Says(begun() + Done()), true},
      {"answers nonsense", Says(begun() + "nonsense, and more of it"), false},
      {"never answers", Says(begun()), false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    { const UniqueFd made(::open(left.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); }
    ScriptedBox box({c.peer, Honest()});
    {
      Files files(box, Short());
      auto upload = files.Create("f", {});
      ASSERT_TRUE(upload) << upload.error().message;
      Result<void> ended;
      const std::string piece(1U << 20, 'x');
      for (int i = 0; i < 8 && ended; ++i) ended = (*upload)->Write(piece);
      if (ended) ended = (*upload)->Commit();
      if (!c.commits) {
        ASSERT_FALSE(ended);
        EXPECT_EQ(ended.error().code, ErrorCode::kInternal) << ended.error().message;
        EXPECT_FALSE(std::filesystem::exists(left));
      }
      upload->reset();
      EXPECT_TRUE(files.Info("."));
    }
    box.Join();
  }
}

// Both ends are in this process here: what either leaves open is seen by TearDown().
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

TEST_F(FilesPeers, SoManyAtOnceAndNoMore) {
  ScriptedBox box({Honest()});
  {
    Files files(box, Short());
    std::vector<std::unique_ptr<Files::Upload>> uploads;
    for (int i = 0; i < 24; ++i) {
      auto upload = files.Create("f" + std::to_string(i), {});
      ASSERT_TRUE(upload) << upload.error().message;
      uploads.push_back(std::move(*upload));
    }
    const auto refused = files.Create("one-more", {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    // The rest is served all the while.
    EXPECT_TRUE(files.Info("."));
    uploads.pop_back();
    EXPECT_TRUE(files.Create("one-more", {}));
    uploads.clear();
    EXPECT_EQ(files.List(".", 1)->size(), 0U);
    EXPECT_LE(box.started(), 26U);
  }
  box.Join();
}

TEST_F(FilesPeers, EndedBoxIsSaidToHaveEnded) {
  ScriptedBox box({AwaitRequest});
  box.End();
  Files files(box, Short());
  const auto info = files.Info("x");
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(box.started(), 0U);
}

}  // namespace
}  // namespace forkbox::execd
