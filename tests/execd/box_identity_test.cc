// Who the programs of a box are, asked of boxes that answer as they like.
#include "runner/execd/box_identity.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/execd/files_scripted_box.h"

namespace forkbox::execd::testing {
namespace {

// Its agents do what they are asked, once they have noted who was to be killed. Its commands are
// functions of the test as well, of the writing end of their output.
class AskedBox final : public ScriptedBox {
 public:
  explicit AskedBox(std::vector<Peer> commands)
      : ScriptedBox({[this](int channel) { NoteSignal(channel); }}),
        commands_(std::move(commands)) {}

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    if (program.kind == sandbox::BoxProgram::Kind::kAgent) return ScriptedBox::Start(program);
    int ends[2];
    int status[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status), 0);
    sandbox::BoxProcess process;
    process.pid = 40 + static_cast<pid_t>(asked);
    process.stdout_pipe.Reset(ends[0]);
    read_by_others_too.Reset(::fcntl(ends[0], F_DUPFD_CLOEXEC, 0));
    process.status.Reset(status[0]);
    ended.Reset(status[1]);
    threads_.emplace_back([run = commands_.at(asked), end = UniqueFd(ends[1])] { run(end.get()); });
    ++asked;
    return process;
  }

  void JoinAll() {
    threads_.clear();
    Join();
  }

  std::size_t asked = 0;
  UniqueFd ended;  // closing it, the last one has
  UniqueFd read_by_others_too;
  std::vector<pid_t> killed;

 private:
  void NoteSignal(int channel) {
    FrameKind kind{};
    std::string body;
    AgentRequest request;
    while (AgentChannel(channel).Receive(&kind, &body) && DecodeRequest(body, &request)) {
      EXPECT_EQ(request.operation, Operation::kSignal);
      EXPECT_EQ(request.number, static_cast<std::uint32_t>(SIGKILL));
      EXPECT_TRUE(request.whole_group);
      killed.push_back(request.pid);
      SendBytes(channel, Begun() + Done());
    }
  }

  const std::vector<Peer> commands_;
  std::vector<std::jthread> threads_;
};

void Say(int pipe, std::string_view text) {
  EXPECT_EQ(::write(pipe, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

class BoxIdentities : public FilesPeers {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    FilesPeers::SetUp();
  }
};

TEST_F(BoxIdentities, OneIsAskedOnceAndHasItsOwnUserOnly) {
  AskedBox box({[](int pipe) { Say(pipe, "2001\n2002\n"); }});
  {
    Files files(box, Short());
    BoxIdentity identity(box, files);
    EXPECT_TRUE(identity.Allows({}, {}));
    EXPECT_EQ(box.asked, 0U);
    EXPECT_TRUE(identity.Allows(2001, {}));
    EXPECT_TRUE(identity.Allows({}, 2002));
    EXPECT_TRUE(identity.Allows(2001, 2002));
    EXPECT_FALSE(identity.Allows(0, {}));
    EXPECT_FALSE(identity.Allows(2001, 0));
    EXPECT_EQ(box.asked, 1U);
  }
  box.JoinAll();
  box.ended.Reset();
  box.read_by_others_too.Reset();
}

TEST_F(BoxIdentities, WhoDoesNotAnswerIsKilledAndNobodyElseAskedWhileItLives) {
  std::atomic<bool> over = false;
  std::atomic<int> drops = 0;
  constexpr int kMaxAnswerBytes = 64;
  const Peer drips = [&](int pipe) {  // each in time, and no end to them
    while (!over && ::write(pipe, " ", 1) == 1) {
      ++drops;
      std::this_thread::sleep_for(100ms);
    }
  };
  AskedBox box({drips, [](int pipe) { Say(pipe, "2001\n2002\n"); }});
  {
    Files files(box, Short());
    BoxIdentity identity(box, files, 300ms);
    EXPECT_FALSE(identity.Allows(2001, {}));
    EXPECT_LT(drops, kMaxAnswerBytes / 2);
    // Nor is it waited for what somebody else has taken meanwhile.
    EXPECT_NE(::fcntl(box.read_by_others_too.get(), F_GETFL) & O_NONBLOCK, 0);
    over = true;
    for (int i = 0; i < 4; ++i) {
      EXPECT_FALSE(identity.Allows(2001, {}));
      std::this_thread::sleep_for(200ms);
    }
    EXPECT_EQ(box.asked, 1U);
    box.ended.Reset();
    std::this_thread::sleep_for(400ms);
    EXPECT_TRUE(identity.Allows(2001, {}));
    EXPECT_EQ(box.asked, 2U);
  }
  box.JoinAll();
  EXPECT_THAT(box.killed, ::testing::ElementsAre(40));
  box.ended.Reset();
  box.read_by_others_too.Reset();
}

TEST_F(BoxIdentities, NonsenseIsNobody) {
  for (const char* answer : {"", "root\nroot\n", "2001", "\n", "-\xff"}) {
    SCOPED_TRACE(answer);
    AskedBox box({[answer](int pipe) { Say(pipe, answer); }});
    {
      Files files(box, Short());
      BoxIdentity identity(box, files);
      EXPECT_FALSE(identity.Allows(2001, {}));
      EXPECT_FALSE(identity.Allows({}, 0));
    }
    box.JoinAll();
    box.ended.Reset();
    box.read_by_others_too.Reset();
  }
}

}  // namespace
}  // namespace forkbox::execd::testing
