// Machines from a snapshot: that they work, that each is one of its own, and what their QEMU could
// do to others. The templates boot under emulation: any host will do.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "runner/sandbox/uid_range.h"
#include "runner/sandbox/vm/launch/launch_qemu.h"
#include "runner/sandbox/vm/snapshot_source.h"
#include "runner/sandbox/vm/vm_image.h"
#include "runner/sandbox/wire.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/vm_host.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using vm::ReadyMachine;
using vm::SnapshotSource;

Deadline In(std::chrono::milliseconds time) { return steady_clock::now() + time; }

template <class Condition>
bool Eventually(Condition condition, std::chrono::milliseconds patience = 20s) {
  const Deadline give_up = In(patience);
  while (!condition()) {
    if (steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// "Name:\tvalue" of /proc/PID/status.
std::map<std::string, std::string> StatusOf(pid_t pid) {
  std::map<std::string, std::string> status;
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(":\t");
    if (colon != std::string::npos) status[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return status;
}

std::string UntilEof(int fd, Deadline deadline) {
  std::string text;
  char buffer[4096];
  for (;;) {
    pollfd polled{fd, POLLIN, 0};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0 || ::poll(&polled, 1, static_cast<int>(left.count())) <= 0) return text;
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

// A folder with files of an image, which go with it.
class OtherImage {
 public:
  OtherImage() {
    std::string folder = fs::temp_directory_path() / "forkbox-image-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) std::abort();
    fs::permissions(folder, fs::perms(0755));  // QEMU is another user
    folder_ = folder;
    for (const char* name : {vm::kKernelFile, vm::kBaseDisk, vm::kRuntimeDisk}) {
      std::error_code error;
      fs::create_hard_link(fs::path(TestImage()) / name, folder_ / name, error);
      if (error) fs::copy_file(fs::path(TestImage()) / name, folder_ / name);
    }
    Write(vm::kInitrdFile, "");
    Write(vm::kImageManifest, "{}");
  }
  ~OtherImage() { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) {
    fs::remove(folder_ / name);  // it may be the real one's
    std::ofstream(folder_ / name) << text;
  }
  [[nodiscard]] std::string folder() const { return folder_; }

 private:
  fs::path folder_;
};

// One forkserver and one booted template for all.
class VmSnapshotTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(fs::exists(TestImage() + "/" + vm::kInitrdFile))
        << "no image of machines in " << TestImage() << ": make vm-image";
    auto client = StartMachineForkserver(TestImage(), {{FORKBOX_TEST_BINARIES, "/opt/hostile"}});
    ASSERT_TRUE(client) << client.error().message;
    client_ = std::move(*client);
    qemu_build_ = *vm::QemuBuild();
    manifest_.Write(vm::kImageManifest, "{\"of\": \"this test\"}");
    source_ = std::make_unique<SnapshotSource>(*client_, 0, CellLimits(), TestMachine(),
                                               Log::Null(), manifest_.folder(),
                                               []() -> Result<std::string> { return qemu_build_; });
    EXPECT_NE(source_->WhyStale(), "");
    EXPECT_FALSE(source_->Fork(In(1s)));
    const auto prepared = source_->Prepare(In(240s));
    ASSERT_TRUE(prepared) << prepared.error().message;
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
  // Starts a program where QEMU would be, with the template's files.
  static std::string RunInstead(const std::vector<std::string>& words) {
    auto fork = client_->Fork(0, CellLimits(), In(60s));
    if (!fork) return fork.error().message;
    const ReadyMachine machine = Fork();  // for its descriptors: those of a fork
    EXPECT_TRUE(Eventually([] { return MachinesOf(client_->pid()).size() == 1; }));
    const std::string proc = "/proc/" + std::to_string(MachinesOf(client_->pid()).at(0)) + "/fd/";
    const UniqueFd ram(::open((proc + std::to_string(vm::kRamFd)).c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd state(
        ::open((proc + std::to_string(vm::kStateFd)).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(ram && state);
    auto monitor = vm::LaunchQemu(*fork, words, ram.get(), state.get());
    EXPECT_TRUE(monitor);
    return UntilEof(fork->stdout_pipe.get(), In(20s)) + UntilEof(fork->stderr_pipe.get(), In(20s));
  }

  static inline std::unique_ptr<ForkserverClient> client_;
  static inline std::unique_ptr<SnapshotSource> source_;
  static inline std::string qemu_build_;
  static inline OtherImage manifest_;  // of which only that is watched
};

constexpr const char* kWhoAmI = "import os\nprint(6 * 7, os.urandom(16).hex())\n";

TEST_F(VmSnapshotTest, ForksAnswerAndAreNotAlike) {
  std::set<std::string> answers;
  for (int i = 0; i < 2; ++i) {
    ReadyMachine machine = Fork();
    const Answer answer = RunInMachine(machine, "python", kWhoAmI, In(120s));
    ASSERT_EQ(answer.error, "");
    EXPECT_EQ(answer.end.reason, schema::Reason::kExited) << answer.end.message;
    EXPECT_EQ(answer.end.exit_code, 0) << answer.err;
    EXPECT_THAT(answer.out, MatchesRegex("42 [0-9a-f]{32}\n"));
    answers.insert(answer.out);
  }
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(VmSnapshotTest, KeptMachinesAreLoadedWholeAndStandStill) {
  std::vector<ReadyMachine> kept;
  for (int i = 0; i < 3; ++i) {
    kept.push_back(Fork());
    const auto loaded = kept.back().AwaitLoaded(In(60s));
    ASSERT_TRUE(loaded) << loaded.error().message;
  }
  // Those that are not resumed do nothing, whatever is written to them.
  const std::string job = vm::EncodeDescribe(SomeAwakening());
  (void)!::write(kept[0].fork.channel.get(), job.data(), job.size());
  pollfd polled{kept[0].fork.channel.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 300), 0);
  const Answer answer = RunInMachine(kept[2], "python", kWhoAmI, In(120s));
  EXPECT_EQ(answer.error, "");
  EXPECT_THAT(answer.out, HasSubstr("42 "));
}

TEST_F(VmSnapshotTest, ManyAtOnceEachHaveTheirOwn) {
  constexpr std::size_t kMany = 4;
  std::vector<std::string> answers(kMany);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kMany; ++i) {
    threads.emplace_back([&answers, i] {
      ReadyMachine machine = Fork();
      const Answer answer = RunInMachine(machine, "python", kWhoAmI, In(200s));
      answers[i] = answer.error + answer.out;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& answer : answers) EXPECT_THAT(answer, MatchesRegex("42 [0-9a-f]{32}\n"));
  EXPECT_EQ(std::set<std::string>(answers.begin(), answers.end()).size(), kMany);
}

// ------------------------------------------------------------------ walls

TEST_F(VmSnapshotTest, QemuIsNobodyInACellOfItsOwn) {
  std::vector<ReadyMachine> machines;
  machines.push_back(Fork());
  machines.push_back(Fork());
  for (ReadyMachine& machine : machines) ASSERT_TRUE(machine.AwaitLoaded(In(60s)));
  const auto pids = MachinesOf(client_->pid());
  ASSERT_EQ(pids.size(), 2U);
  std::set<std::string> uids;
  std::set<std::string> namespaces;
  for (const pid_t pid : pids) {
    const auto status = StatusOf(pid);
    uids.insert(status.at("Uid"));
    EXPECT_THAT(status.at("Uid"), ::testing::Not(HasSubstr("0\t0")));
    EXPECT_EQ(status.at("Groups").find_first_not_of(' '), std::string::npos);
    EXPECT_EQ(status.at("NoNewPrivs"), "1");
    EXPECT_EQ(status.at("Seccomp"), "2");
    EXPECT_EQ(status.at("Seccomp_filters"), "2") << "the cell's, and QEMU's";
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      EXPECT_EQ(status.at(set), "0000000000000000") << set;
    }
    const std::string proc = "/proc/" + std::to_string(pid);
    for (const char* kind : {"pid", "mnt", "ipc", "uts", "net"}) {
      const std::string ours = fs::read_symlink(std::string("/proc/self/ns/") + kind);
      const std::string its = fs::read_symlink(proc + "/ns/" + kind);
      EXPECT_NE(its, ours);
      EXPECT_TRUE(namespaces.insert(its).second) << kind << " is shared by two machines";
    }
    std::istringstream interfaces(Slurp(proc + "/net/dev"));
    std::vector<std::string> names;
    for (std::string line; std::getline(interfaces, line);) {
      const auto colon = line.find(':');
      if (colon != std::string::npos) {
        names.push_back(
            line.substr(line.find_first_not_of(' '), colon - line.find_first_not_of(' ')));
      }
    }
    EXPECT_THAT(names, ::testing::ElementsAre("lo"));
  }
  EXPECT_EQ(uids.size(), 2U);
}

TEST_F(VmSnapshotTest, TheRootHoldsWhatQemuNeedsAndNothingElse) {
  ReadyMachine machine = Fork();
  ASSERT_TRUE(machine.AwaitLoaded(In(60s)));
  const pid_t pid = MachinesOf(client_->pid()).at(0);
  const std::string root = "/proc/" + std::to_string(pid) + "/root";
  std::set<std::string> top;
  for (const auto& entry : fs::directory_iterator(root + "/")) top.insert(entry.path().filename());
  for (const char* link : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) top.erase(link);
  EXPECT_THAT(top, ::testing::ElementsAre("box", "dev", "etc", "image", "opt", "proc", "run", "tmp",
                                          "usr"));
  const auto names = [&](const std::string& folder) {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(root + folder)) {
      found.insert(entry.path().filename());
    }
    return found;
  };
  EXPECT_THAT(names("/usr"), ::testing::ElementsAre("bin", "lib", "lib64", "share"));
  EXPECT_THAT(names("/usr/bin"), ::testing::ElementsAre("qemu-system-x86_64"));
  EXPECT_THAT(names("/usr/share"), ::testing::ElementsAre("qemu", "seabios"));
  EXPECT_THAT(names("/etc"), ::testing::ElementsAre("ld.so.cache"));
  EXPECT_THAT(names("/dev"),
              ::testing::ElementsAre("null", "pts", "random", "shm", "urandom", "zero"));
  EXPECT_THAT(names("/run"), ::testing::IsEmpty());
  for (const auto& entry : fs::recursive_directory_iterator(root + "/usr/lib/")) {
    if (entry.is_directory()) continue;
    EXPECT_THAT(entry.path().filename().string(), HasSubstr(".so"));
  }
  // Every mount but the private disk is read-only. Of those on each other the last is seen.
  std::map<std::string, std::string> seen;
  std::istringstream mounts(Slurp("/proc/" + std::to_string(pid) + "/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string skipped;
    std::string target;
    std::string options;
    words >> skipped >> skipped >> skipped >> skipped >> target >> options;
    seen[target] = options;
  }
  for (const char* own : {"/box", "/tmp", "/dev/shm"}) EXPECT_EQ(seen.erase(own), 1U) << own;
  for (const auto& [target, options] : seen) {
    EXPECT_TRUE(options.starts_with("ro,")) << target << ": " << options;
  }
}

TEST_F(VmSnapshotTest, WhoTakesQemuOverGetsNowhere) {
  const std::string said = RunInstead({"/opt/hostile/hostile_machine_escape"});
  std::istringstream lines(said);
  std::size_t tries = 0;
  for (std::string line; std::getline(lines, line) && line != "end"; ++tries) {
    const bool may = line.starts_with("map the template's memory privately:") ||
                     line.starts_with("read the template's state:");
    EXPECT_EQ(line.ends_with(": ALLOWED"), may) << line;
  }
  EXPECT_GT(tries, 30U) << said;
  EXPECT_THAT(said, HasSubstr("end\n"));
  EXPECT_THAT(said, HasSubstr("write the template's memory: EPERM\n"));
  EXPECT_THAT(said, HasSubstr("map the template's memory shared: EPERM\n"));
}

TEST_F(VmSnapshotTest, OnlyMachinesThatUseItSeeTheDeviceOfTheProcessor) {
  for (const bool kvm : {false, true}) {
    SCOPED_TRACE(kvm);
    ForkserverConfig config;
    config.root = RootKind::kMachines;
    config.kvm = kvm;
    config.uid_count = 4;
    config.uid_base = DrawUidBase(config.uid_count);
    config.templates.emplace_back().command = {"/opt/forkbox-vm/forkbox-vm-launch"};
    config.binds = {{FORKBOX_VM_PROGRAMS, "/opt/forkbox-vm"}};
    auto client = ForkserverClient::Start(FORKBOX_FORKSERVER, config);
    ASSERT_TRUE(client) << client.error().message;
    ASSERT_TRUE((*client)->Connect(In(60s)));
    ASSERT_TRUE((*client)->WaitForTemplate(0, In(60s)));
    ASSERT_TRUE((*client)->StateOf(0).ready) << (*client)->StateOf(0).reason;
    const pid_t launcher = TemplatesOf((*client)->pid()).at(0);
    struct stat device {};
    const std::string path = "/proc/" + std::to_string(launcher) + "/root/dev/kvm";
    ASSERT_EQ(::stat(path.c_str(), &device) == 0, kvm);
    if (!kvm) continue;
    EXPECT_EQ(device.st_mode, S_IFCHR | 0666U);
    EXPECT_EQ(device.st_rdev, makedev(10, 232));
  }
}

TEST_F(VmSnapshotTest, QemuIsNotToldWhatItMustNotStart) {
  EXPECT_THAT(RunInstead({"/bin/sh", "-c", "id"}),
              HasSubstr("cannot start the machine: /bin/sh: No such file or directory"));
}

TEST_F(VmSnapshotTest, AMachineThatDoesNotComeUpIsNotKept) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const char* word : {"-nonsense", "--version"}) {
    SCOPED_TRACE(word);
    auto fork = client_->Fork(0, CellLimits(), In(60s));
    ASSERT_TRUE(fork) << fork.error().message;
    auto monitor = vm::LaunchQemu(*fork, {vm::kQemuPath, word}, null.get(), null.get());
    ASSERT_TRUE(monitor) << monitor.error().message;
    ReadyMachine machine{std::move(*fork), std::move(*monitor)};
    const auto loaded = machine.AwaitLoaded(In(30s));
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kUnavailable);
    if (word == std::string("-nonsense")) {
      EXPECT_THAT(loaded.error().message, HasSubstr("invalid option"));
    }
    EXPECT_FALSE(machine.Resume());
  }
}

TEST_F(VmSnapshotTest, TheLauncherRefusesWhatIsNotALaunch) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const std::string good = vm::EncodeLaunch({"/usr/bin/qemu-system-x86_64", "--version"});
  struct Case {
    const char* what;
    std::string packet;
    std::size_t fds;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"no descriptors", good, 0, "the launch's descriptors"},
      {"one too few", good, 2, "the launch's descriptors"},
      {"one too many", good, 4, "the launch's descriptors"},
      {"no size", std::string(4, '\0'), 3, "the launch's size"},
      {"a size beyond bounds", std::string(8, '\xff'), 3, "the launch's size"},
      {"no words", vm::EncodeLaunch({}), 3, "the launch's words"},
      {"a word that is cut", std::string("\x08\0\0\0\1\0\0\0\xff\0\0\0", 12), 3,
       "the launch's words"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    auto fork = client_->Fork(0, CellLimits(), In(60s));
    ASSERT_TRUE(fork) << fork.error().message;
    const std::vector<int> fds(one.fds, null.get());
    ASSERT_TRUE(SendPacket(fork->channel.get(), one.packet.data(), one.packet.size(), fds));
    EXPECT_THAT(UntilEof(fork->stderr_pipe.get(), In(20s)), HasSubstr(one.says));
  }
}

// ------------------------------------------------------------------ templates that are no good

TEST_F(VmSnapshotTest, ATemplateThatCannotBootSaysWhyInTime) {
  struct Case {
    const char* what;
    const char* file;
    std::string content;
    std::chrono::seconds time;
    ErrorCode code;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"no agent in the initrd", vm::kInitrdFile, "", 120s, ErrorCode::kUnavailable, "panic"},
      {"no kernel", vm::kKernelFile, "nothing", 120s, ErrorCode::kUnavailable, "QEMU: "},
      {"no patience", vm::kInitrdFile, "", 0s, ErrorCode::kDeadlineExceeded, "in time"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    OtherImage image;
    image.Write(one.file, one.content);
    auto client = StartMachineForkserver(image.folder());
    ASSERT_TRUE(client) << client.error().message;
    SnapshotSource source(**client, 0, CellLimits(), TestMachine(), Log::Null());
    // 0: enough for the fork, and for no boot.
    const auto time = one.time > 0s ? std::chrono::milliseconds(one.time) : 700ms;
    const auto start = steady_clock::now();
    const auto prepared = source.Prepare(In(time));
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, one.code) << prepared.error().message;
    EXPECT_THAT(prepared.error().message, HasSubstr(one.says));
    EXPECT_LT(prepared.error().message.size(), 6000U);
    EXPECT_LT(steady_clock::now() - start, time + 20s);
    EXPECT_TRUE(Eventually([&] { return MachinesOf((*client)->pid()).empty(); }));
    EXPECT_FALSE(source.Fork(In(1s)));
  }
}

TEST_F(VmSnapshotTest, ATemplateThatIsKilledWhileItBootsIsMissedAtOnce) {
  auto client = StartMachineForkserver(TestImage());
  ASSERT_TRUE(client) << client.error().message;
  SnapshotSource source(**client, 0, CellLimits(), TestMachine(), Log::Null());
  std::thread killer([&] {
    const pid_t forkserver = (*client)->pid();
    EXPECT_TRUE(Eventually([&] { return !MachinesOf(forkserver).empty(); }));
    for (const pid_t pid : MachinesOf(forkserver)) ::kill(pid, SIGKILL);
  });
  const auto prepared = source.Prepare(In(240s));
  killer.join();
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(prepared.error().message, HasSubstr("QEMU ended before"));
}

TEST_F(VmSnapshotTest, ATemplateOfAnotherQemuIsRefused) {
  EXPECT_EQ(source_->WhyStale(), "");
  const std::string before = qemu_build_;
  qemu_build_ += ", security update";
  EXPECT_THAT(source_->WhyStale(), HasSubstr("QEMU has changed"));
  const auto machine = source_->Fork(In(10s));
  qemu_build_ = before;
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(machine.error().message, HasSubstr("boot a new template"));
  EXPECT_EQ(source_->WhyStale(), "");
}

TEST_F(VmSnapshotTest, ATemplateOfAnotherImageIsStale) {
  EXPECT_EQ(source_->WhyStale(), "");
  const fs::path manifest = fs::path(manifest_.folder()) / vm::kImageManifest;
  const fs::path aside = manifest.string() + ".aside";
  fs::rename(manifest, aside);
  EXPECT_THAT(source_->WhyStale(), HasSubstr("the image has changed"));
  manifest_.Write(vm::kImageManifest, "{\"of\": \"another\"}");
  EXPECT_THAT(source_->WhyStale(), HasSubstr("the image has changed"));
  fs::rename(aside, manifest);
  EXPECT_EQ(source_->WhyStale(), "");
}

// ------------------------------------------------------------------ afterwards

TEST_F(VmSnapshotTest, NothingIsLeftOver) {
  const pid_t forkserver = client_->pid();
  const auto footprint = [&] {
    std::size_t cells = 0;
    for (const std::string& name : CgroupsOf(forkserver)) {
      for (const auto& [path, count] : FindCgroups(name)) cells += count;
    }
    std::size_t launcher = 0;
    for (const pid_t pid : TemplatesOf(forkserver)) launcher += OpenFds(pid);
    return std::vector<std::size_t>{ProcessTree(forkserver).size(), cells, OpenFds(::getpid()),
                                    OpenFds(forkserver), launcher};
  };
  ASSERT_TRUE(Eventually([&] { return ProcessTree(forkserver).size() == 2; }))
      << "the forkserver and the launcher";
  std::this_thread::sleep_for(200ms);
  const auto before = footprint();
  EXPECT_EQ(before[1], 0U) << "cells, that of the template among them";
  {
    std::vector<ReadyMachine> machines;
    for (int i = 0; i < 3; ++i) machines.push_back(Fork());
    ASSERT_TRUE(machines[0].AwaitLoaded(In(60s)));
    ASSERT_TRUE(machines[1].Resume());  // and given up while it runs, the third while it starts
  }
  EXPECT_TRUE(Eventually([&] { return footprint() == before; }))
      << ::testing::PrintToString(footprint()) << " was " << ::testing::PrintToString(before);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
