// Forks of a running machine: that they work, that each is one of its own, and that its QEMU is
// locked in. Under emulation, so any host will do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "runner/sandbox/vm/live/descriptors.h"
#include "runner/sandbox/vm/live_source.h"
#include "runner/sandbox/vm/vm_image.h"
#include "runner/sandbox/wire.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/vm_host.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using vm::LiveSource;
using vm::ReadyMachine;

constexpr std::size_t kLive = 1;  // behind the launcher

Deadline In(std::chrono::milliseconds time) { return steady_clock::now() + time; }

template <class Condition>
bool Eventually(Condition condition, std::chrono::milliseconds patience = 30s) {
  const Deadline give_up = In(patience);
  while (!condition()) {
    if (steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

using Fields = std::map<std::string, std::string>;

// "Name:\tvalue" of a status file; runs of tabs as they are.
Fields ReadStatus(const std::string& path) {
  Fields status;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(":\t");
    if (colon != std::string::npos) status[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return status;
}

std::vector<Fields> ThreadsOf(pid_t pid) {
  std::vector<Fields> threads;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    threads.push_back(ReadStatus(task.path() / "status"));
  }
  return threads;
}

std::string Uid(const Fields& status) {
  const std::string& ids = status.at("Uid");
  return ids.substr(0, ids.find('\t'));
}

std::multiset<std::string> FilesOf(pid_t pid) {
  std::multiset<std::string> files;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::string target = fs::read_symlink(fd.path());
    if (target.starts_with("socket:") || target.starts_with("pipe:")) {
      target.erase(target.find(':'));  // and its number
    }
    files.insert(std::move(target));
  }
  return files;
}

// Beside the template, which is there first.
std::vector<pid_t> ForksOf(pid_t template_pid, pid_t forkserver) {
  std::vector<pid_t> forks = MachinesOf(forkserver);
  std::erase(forks, template_pid);
  return forks;
}

pid_t TemplateOf(pid_t forkserver) {
  for (const pid_t pid : TemplatesOf(forkserver)) {
    std::error_code error;
    if (fs::read_symlink("/proc/" + std::to_string(pid) + "/exe", error) == vm::kQemuPath) {
      return pid;
    }
  }
  return -1;
}

// One forkserver and one booted template for all.
class VmLiveTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(fs::exists(TestImage() + "/" + vm::kInitrdFile))
        << "no image of machines in " << TestImage() << ": build the target vm_image";
    auto client = StartMachineForkserver(TestImage(), {}, {vm::LiveTemplate(TestMachine())});
    ASSERT_TRUE(client) << client.error().message;
    client_ = std::move(*client);
    source_ = std::make_unique<LiveSource>(*client_, kLive, CellLimits());
    EXPECT_THAT(source_->WhyStale(), HasSubstr("not booted"));
    const auto prepared = source_->Prepare(In(240s));
    ASSERT_TRUE(prepared) << prepared.error().message;
    EXPECT_EQ(source_->WhyStale(), "");
  }
  static void TearDownTestSuite() {
    source_.reset();
    client_.reset();
  }

  static ReadyMachine Fork() {
    auto machine = source_->Fork(In(60s));
    EXPECT_TRUE(machine) << machine.error().message;
    if (!machine) std::abort();  // nothing below makes sense
    return std::move(*machine);
  }
  static std::string Prints(ReadyMachine& machine, const std::string& code) {
    const Answer answer = RunInMachine(machine, "python", code, In(120s));
    return answer.error.empty() ? answer.out + answer.err : "failed: " + answer.error;
  }
  static pid_t Template() { return TemplateOf(client_->pid()); }

  static inline std::unique_ptr<ForkserverClient> client_;
  static inline std::unique_ptr<LiveSource> source_;
};

constexpr const char* kWhoAmI = "import os\nprint(6 * 7, os.urandom(16).hex())\n";

TEST_F(VmLiveTest, ForksAnswerAndAreNotAlike) {
  std::set<std::string> answers;
  for (int i = 0; i < 2; ++i) {
    ReadyMachine machine = Fork();
    answers.insert(Prints(machine, kWhoAmI));
    EXPECT_THAT(answers, Contains(MatchesRegex("42 [0-9a-f]{32}\n")));
  }
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(VmLiveTest, TheProcessorsOwnRandomnessIsNotCopied) {
  // RDRAND, before anything else could have made a difference: mov and ret around it.
  constexpr const char* kRdrand =
      "import ctypes, mmap\n"
      "m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
      "m.write(bytes.fromhex('480fc7f0c3'))\n"
      "f = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
      "print('%016x%016x' % (f(), f()))\n";
  std::set<std::string> answers;
  for (int i = 0; i < 2; ++i) {
    ReadyMachine machine = Fork();
    answers.insert(Prints(machine, kRdrand));
    EXPECT_THAT(answers, Contains(MatchesRegex("[0-9a-f]{32}\n")));
  }
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(VmLiveTest, ForksKnowTheTime) {
  std::this_thread::sleep_for(2s);  // so that the template is behind it
  ReadyMachine machine = Fork();
  const double before =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::string said = Prints(machine, "import time\nprint(time.time())\n");
  const double after =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(std::strtod(said.c_str(), nullptr), before - 0.5) << said;
  EXPECT_LT(std::strtod(said.c_str(), nullptr), after + 0.5) << said;
}

TEST_F(VmLiveTest, ManyAtOnceEachHaveTheirOwn) {
  constexpr std::size_t kMany = 6;
  std::vector<std::string> answers(kMany);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kMany; ++i) {
    threads.emplace_back([&answers, i] {
      ReadyMachine machine = Fork();
      answers[i] = Prints(machine, "n = " + std::to_string(i) + "\n" +
                                       "open('mine', 'w').write(str(n))\n"
                                       "print(open('mine').read(), sum(range(200000)) + n)\n");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(answers[i], std::to_string(i) + " " + std::to_string(19999900000 + i) + "\n");
  }
}

TEST_F(VmLiveTest, AForkIsLockedIn) {
  const ReadyMachine first = Fork();
  const ReadyMachine second = Fork();
  const std::vector<pid_t> forks = ForksOf(Template(), client_->pid());
  ASSERT_EQ(forks.size(), 2U);
  std::set<std::string> uids;
  std::set<std::string> namespaces;
  for (const pid_t pid : forks) {
    const std::string proc = "/proc/" + std::to_string(pid);
    std::size_t threads = 0;
    for (const Fields& thread : ThreadsOf(pid)) {
      ++threads;
      uids.insert(Uid(thread));
      EXPECT_THAT(thread.at("Uid"), Not(MatchesRegex("0\t.*")));
      for (const char* kind : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
        EXPECT_EQ(thread.at(kind), "0000000000000000") << kind;
      }
      EXPECT_EQ(thread.at("NoNewPrivs"), "1");
      EXPECT_EQ(thread.at("Seccomp"), "2");
      EXPECT_EQ(thread.at("NSpid").find('\t') != std::string::npos, true);
    }
    EXPECT_EQ(threads, ThreadsOf(Template()).size());
    for (const char* kind : {"mnt", "pid", "net", "ipc", "uts"}) {
      namespaces.insert(fs::read_symlink(proc + "/ns/" + kind));
    }
    // What the template forks with is not in its forks: no way to ask for more, no filter to read.
    const auto files = FilesOf(pid);
    EXPECT_THAT(files, Not(Contains(HasSubstr("memfd:"))));
    EXPECT_THAT(files, Not(Contains("anon_inode:[pidfd]")));
    EXPECT_THAT(files, Not(Contains(HasSubstr("cgroup"))));
    EXPECT_EQ(files.count("socket"), 3U);  // the agent's, and both ends of the monitor's
    EXPECT_EQ(files.count("pipe"), 3U);    // its standard streams
    // Nobody, itself included, can look into it: the kernel shows it as root's.
    struct stat info {};
    ASSERT_EQ(::stat((proc + "/fd").c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 0U);
  }
  EXPECT_EQ(uids.size(), 2U);
  EXPECT_EQ(namespaces.size(), 10U);
}

TEST_F(VmLiveTest, OnlyTheThreadThatForksHasPrivileges) {
  const ReadyMachine machine = Fork();
  const pid_t fork = ForksOf(Template(), client_->pid()).at(0);
  // Its own parent is the template, so its init is who shares its pid namespace beside it.
  std::string uid_of_inits;
  for (const pid_t pid : ProcessTree(client_->pid())) {
    std::error_code gone;
    const auto space = [&](pid_t of) {
      return fs::read_symlink("/proc/" + std::to_string(of) + "/ns/pid", gone);
    };
    if (pid != fork && space(pid) == space(fork)) {
      uid_of_inits = Uid(ReadStatus("/proc/" + std::to_string(pid) + "/status"));
    }
  }
  EXPECT_THAT(uid_of_inits, MatchesRegex("[1-9][0-9]*"));
  EXPECT_NE(uid_of_inits, "65534");
  std::size_t privileged = 0;
  for (const Fields& thread : ThreadsOf(Template())) {
    if (thread.at("CapEff") == "0000000000000000") {
      // Nor nobody's, whose other processes on the host could kill it.
      EXPECT_EQ(Uid(thread), uid_of_inits);
      EXPECT_EQ(thread.at("NoNewPrivs"), "1");
    } else {
      ++privileged;
      EXPECT_EQ(thread.at("Name"), "template");
    }
    EXPECT_EQ(thread.at("Seccomp"), "2");
  }
  EXPECT_EQ(privileged, 1U);
}

TEST_F(VmLiveTest, ForksLeaveNothingBehind) {
  { const ReadyMachine warm_up = Fork(); }
  const pid_t forkserver = client_->pid();
  const auto at_rest = [&] {
    return ForksOf(Template(), forkserver).empty() && ProcessTree(forkserver).size() == 3;
  };
  ASSERT_TRUE(Eventually(at_rest));
  const std::size_t template_fds = OpenFds(Template());
  const std::size_t forkserver_fds = OpenFds(forkserver);
  const std::size_t template_threads = ThreadsOf(Template()).size();
  const std::size_t own_fds = OpenFds(::getpid());
  for (int i = 0; i < 20; ++i) {
    ReadyMachine machine = Fork();
    if (i % 5 == 0) {
      EXPECT_THAT(Prints(machine, kWhoAmI), HasSubstr("42 "));
    }
  }
  EXPECT_TRUE(Eventually(at_rest));
  EXPECT_TRUE(Eventually([&] {
    return OpenFds(Template()) == template_fds && OpenFds(forkserver) == forkserver_fds;
  })) << OpenFds(Template())
      << " of " << template_fds << ", " << OpenFds(forkserver) << " of " << forkserver_fds;
  EXPECT_EQ(OpenFds(::getpid()), own_fds);
  EXPECT_LE(ThreadsOf(Template()).size(), template_threads);
}

// Nobody would hear how they end: they end with it, and whoever waits for them is told.
TEST_F(VmLiveTest, MachinesOfADeadTemplateEndAndItComesBack) {
  ReadyMachine machine = Fork();
  const pid_t old_template = Template();
  ASSERT_EQ(::kill(old_template, SIGKILL), 0);
  ASSERT_TRUE(Eventually([] { return !source_->WhyStale().empty(); }));
  EXPECT_FALSE(source_->Fork(In(1s)));
  EXPECT_THAT(Prints(machine, kWhoAmI), HasSubstr("failed: "));
  StatusMessage message;
  ASSERT_EQ(RecvPacket(machine.fork.status.get(), &message, sizeof message, nullptr, nullptr),
            sizeof message);
  EXPECT_EQ(message.kind, StatusKind::kTemplateLost);

  const auto prepared = source_->Prepare(In(240s));
  ASSERT_TRUE(prepared) << prepared.error().message;
  EXPECT_EQ(source_->WhyStale(), "");
  EXPECT_NE(Template(), old_template);
  ReadyMachine another = Fork();
  EXPECT_THAT(Prints(another, kWhoAmI), HasSubstr("42 "));
}

TEST(VmLiveTemplateTest, SaysWhyTheGuestDoesNotGetReady) {
  TemplateSpec spec = vm::LiveTemplate(TestMachine());
  const auto runtime = std::ranges::find(spec.command, "virtio-blk-device,drive=runtime");
  ASSERT_NE(runtime, spec.command.end());
  spec.command.erase(runtime - 1, runtime + 1);
  auto client = StartMachineForkserver(TestImage(), {}, {spec});
  ASSERT_TRUE(client) << client.error().message;
  LiveSource source(**client, kLive, CellLimits());
  const auto prepared = source.Prepare(In(120s));
  ASSERT_FALSE(prepared);
  EXPECT_THAT(prepared.error().message, HasSubstr("vdb"));
}

TEST(VmLiveTemplateTest, RefusesWhatItsForksWouldHaveInCommon) {
  struct Case {
    const char* option;
    const char* value;
    const char* reason;
  };
  const Case cases[] = {
      {"-chardev", "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off",
       "cannot be forked: descriptor .* socket.*"},
      // Without a descriptor.
      {"-object", "memory-backend-ram,id=both,size=2M,share=on",
       "cannot be forked: shared memory .* rw-s .*"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.value);
    TemplateSpec spec = vm::LiveTemplate(TestMachine());
    spec.command.emplace_back(c.option);
    spec.command.emplace_back(c.value);
    auto client = StartMachineForkserver(TestImage(), {}, {spec});
    ASSERT_TRUE(client) << client.error().message;
    LiveSource source(**client, kLive, CellLimits());
    const auto prepared = source.Prepare(In(240s));
    ASSERT_FALSE(prepared);
    EXPECT_THAT(prepared.error().message, MatchesRegex(c.reason));
    EXPECT_EQ(TemplateOf((*client)->pid()), -1);
  }
}

// Nobody else would end it, and it would keep a processor busy for ever.
TEST(VmLiveTemplateTest, ABootThatHangsIsEndedAndBegunAnew) {
  TemplateSpec spec = vm::LiveTemplate(TestMachine());
  spec.command.emplace_back("-S");  // its processor is never started
  auto client = StartMachineForkserver(TestImage(), {}, {spec});
  ASSERT_TRUE(client) << client.error().message;
  LiveSource source(**client, kLive, CellLimits());
  std::set<pid_t> seen;
  for (int attempt = 1; attempt <= 3; ++attempt) {
    Result<void> prepared;
    std::thread preparing([&] { prepared = source.Prepare(In(4s)); });
    EXPECT_TRUE(Eventually(
        [&] {
          const pid_t pid = TemplateOf((*client)->pid());
          return pid > 0 && seen.insert(pid).second;
        },
        4s))
        << "attempt " << attempt;
    preparing.join();
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_EQ(TemplateOf((*client)->pid()), -1);
  }
  std::this_thread::sleep_for(1s);  // the forkserver would have tried again by now
  EXPECT_EQ(TemplateOf((*client)->pid()), -1);
  EXPECT_FALSE(source.Fork(In(5s)));
  EXPECT_EQ(TemplateOf((*client)->pid()), -1);
}

TEST(VmLiveTemplateTest, OneThatFailedOftenIsTriedAgainWhenAsked) {
  TemplateSpec spec = vm::LiveTemplate(TestMachine());
  spec.command.emplace_back("-no-such-option");
  auto client = StartMachineForkserver(TestImage(), {}, {spec});
  ASSERT_TRUE(client) << client.error().message;
  LiveSource source(**client, kLive, CellLimits());
  for (int attempt = 1; attempt <= 8; ++attempt) {
    const std::uint64_t heard = (*client)->StateOf(kLive).heard;
    const auto prepared = source.Prepare(In(60s));
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, ErrorCode::kUnavailable) << "attempt " << attempt;
    EXPECT_THAT(prepared.error().message, HasSubstr("no-such-option"));
    EXPECT_EQ((*client)->StateOf(kLive).heard, heard + 1) << "attempt " << attempt;
  }
}

TEST_F(VmLiveTest, AStoppedTemplateIsGoneAndBootsAgainWhenAsked) {
  ReadyMachine machine = Fork();
  const pid_t old_template = Template();
  source_->Stop();
  // Its machines are the forkserver's children for as long as they take to be killed.
  for (const Deadline patience = In(30s); Template() != -1 && steady_clock::now() < patience;) {
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(Template(), -1);
  EXPECT_NE(source_->WhyStale(), "");
  EXPECT_THAT(Prints(machine, kWhoAmI), HasSubstr("failed: "));
  EXPECT_FALSE(source_->Fork(In(5s)));
  const auto prepared = source_->Prepare(In(240s));
  ASSERT_TRUE(prepared) << prepared.error().message;
  EXPECT_NE(Template(), old_template);
  ReadyMachine another = Fork();
  EXPECT_THAT(Prints(another, kWhoAmI), HasSubstr("42 "));
}

}  // namespace
}  // namespace forkbox::sandbox::testing
