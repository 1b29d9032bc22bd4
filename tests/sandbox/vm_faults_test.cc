// Parts of the driver of virtual machines die or are damaged while programs run: each run has one
// end, and what can be mended is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/long_run.h"
#include "tests/sandbox/sandbox_contract.h"
#include "tests/sandbox/vm_driver_under_test.h"
#include "tests/sandbox/vm_host.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using vm::VmDriver;
using vm::VmState;

// Looks every now and then, for a generous while.
bool Within(std::chrono::seconds time, const std::function<bool()>& condition) {
  const auto until = steady_clock::now() + time;
  while (!condition()) {
    if (steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

// Files of its own, which may be damaged.
class Folder {
 public:
  Folder() : path_((fs::temp_directory_path() / "forkbox-vm-XXXXXX").string()) {
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
    fs::permissions(path_, fs::perms(0755));
  }
  ~Folder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::string& DamagedImage() {
  static const Folder folder;
  static const bool copied = [] {
    for (const auto& file : fs::directory_iterator(TestImage())) {
      fs::copy_file(file.path(), folder.path() / file.path().filename());
    }
    return true;
  }();
  (void)copied;
  return folder.path();
}

// Nothing is kept ready: the machines that there are run something.
DriverUnderTest Breakable(vm::Design design) {
  DriverUnderTest under_test = VmDriverUnderTest(design);
  under_test.start = [design]() -> Result<std::unique_ptr<Driver>> {
    static const Folder programs;
    auto options = VmTestOptions(design);
    options.image_dir = DamagedImage();
    options.pool_size = 0;
    if (design == vm::Design::kSnapshot) {
      // The way that is taken where there is no library for the faster one.
      options.design = vm::Design::kAuto;
      fs::copy(FORKBOX_VM_PROGRAMS "/forkbox-vm-launch", programs.path());
      options.programs_dir = programs.path();
    }
    auto driver = StartVmDriver(std::move(options));
    if (!driver) return Fail(driver.error());
    return std::unique_ptr<Driver>(std::move(*driver));
  };
  return under_test;
}

class VmFaults : public SandboxContract {
 protected:
  VmDriver& vm() { return dynamic_cast<VmDriver&>(driver()); }
  bool IsLive() { return vm().Status().design == "live"; }
  pid_t Template() {
    const auto templates = TemplatesOf(vm().forkserver_pid());
    return templates.size() == 1 || !IsLive() ? templates.at(0) : LiveTemplate(templates);
  }
  std::vector<pid_t> Machines() {
    auto machines = MachinesOf(vm().forkserver_pid());
    for (const pid_t pid : TemplatesOf(vm().forkserver_pid())) std::erase(machines, pid);
    return machines;
  }
  std::vector<std::unique_ptr<LongRun>> StartRuns(int count) {
    std::vector<std::unique_ptr<LongRun>> runs;
    for (int i = 0; i < count; ++i) {
      runs.push_back(std::make_unique<LongRun>(driver(), i % 2 == 0 ? "bash" : "python"));
    }
    return runs;
  }

 private:
  // Beside the launcher.
  pid_t LiveTemplate(const std::vector<pid_t>& templates) {
    const auto machines = MachinesOf(vm().forkserver_pid());
    const auto it =
        std::find_first_of(templates.begin(), templates.end(), machines.begin(), machines.end());
    return it == templates.end() ? -1 : *it;
  }
};

TEST_P(VmFaults, WithoutALibraryForTheFasterWayTheOtherIsTaken) {
  const vm::VmStatus status = vm().Status();
  EXPECT_EQ(status.state, VmState::kReady);
  EXPECT_EQ("vm_" + status.design, GetParam().name);
  if (IsLive()) {
    EXPECT_EQ(status.reason, "");
  } else {
    EXPECT_THAT(status.reason, HasSubstr("libforkbox_vm_live.so is missing"));
  }
}

TEST_P(VmFaults, AMachineThatIsKilledFailsItsOwnRunAlone) {
  LeftoversProbe probe(driver(), vm().forkserver_pid(), 2s);
  ASSERT_THAT(Machines(), ::testing::IsEmpty());
  LongRun victim(driver(), "python");
  const auto its_processes = Machines();
  ASSERT_THAT(its_processes, ::testing::Not(::testing::IsEmpty()));
  auto others = StartRuns(2);
  const auto start = steady_clock::now();
  for (const pid_t pid : its_processes) ::kill(pid, SIGKILL);
  const Outcome outcome = victim.End();
  EXPECT_LT(steady_clock::now() - start, 20s) << "not at its limit of 60 s";
  EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "up\n");
  EXPECT_THAT(outcome.message, HasSubstr("the virtual machine ended by itself"));
  EXPECT_EQ(Run(Bash("echo others run")).stdout_text, "others run\n");
  EXPECT_FALSE(Machines().empty());
  for (const pid_t pid : Machines()) ::kill(pid, SIGKILL);
  for (const auto& run : others) EXPECT_EQ(run->End().reason, Reason::kSandboxFailed);
  EXPECT_EQ(probe.WaitUntilClean(), "");
}

// Of a saved template the launcher is what can die: its memory and its state are the driver's.
TEST_P(VmFaults, ATemplateThatIsKilledEndsWhatRanAndComesBack) {
  LeftoversProbe probe(driver(), vm().forkserver_pid(), 2s);
  const std::uint64_t booted = vm().Status().templates_booted;
  auto runs = StartRuns(4);
  const auto start = steady_clock::now();
  ::kill(Template(), SIGKILL);
  for (const auto& run : runs) {
    const Outcome outcome = run->End();
    EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
    EXPECT_EQ(outcome.stdout_text, "up\n");
  }
  EXPECT_LT(steady_clock::now() - start, 20s) << "not at their limits of 60 s";
  EXPECT_TRUE(vm().Alive());
  Outcome outcome;
  EXPECT_TRUE(Within(6min, [&] {
    std::this_thread::sleep_for(500ms);  // ten that fail in a row are the end of a template
    outcome = Run(Bash("echo again"));
    return outcome.state == schema::State::kCompleted;
  })) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "again\n");
  if (IsLive()) {
    EXPECT_EQ(vm().Status().templates_booted, booted + 1);
  }
  EXPECT_EQ(probe.WaitUntilClean(), "");
}

TEST_P(VmFaults, ADiskThatIsCutShortIsTheEndOfWhoReadsItAndOfNothingElse) {
  const std::string disk = DamagedImage() + "/" + vm::kBaseDisk;
  const auto size = fs::file_size(disk);
  // What was never read: in no memory that forks share.
  const Job reader = Bash("cat /usr/share/*/* /usr/lib/go-1.21/src/*/*.go > /dev/null 2>&1");
  fs::resize_file(disk, size / 4);
  const auto start = steady_clock::now();
  const Outcome outcome = Run(reader);
  EXPECT_LT(steady_clock::now() - start, 60s);
  EXPECT_NE(outcome.reason, Reason::kWallTimeout) << Describe(outcome);
  EXPECT_TRUE(vm().Alive());
  fs::copy_file(TestImage() + "/" + vm::kBaseDisk, disk, fs::copy_options::overwrite_existing);
  ASSERT_EQ(fs::file_size(disk), size);
  Outcome after;
  EXPECT_TRUE(Within(6min, [&] {
    after = Run(reader);
    return after.reason == Reason::kExited;
  })) << Describe(after);
}

TEST_P(VmFaults, AForkserverThatIsKilledEndsEverything) {
  auto runs = StartRuns(2);
  const auto machines = MachinesOf(vm().forkserver_pid());
  ::kill(vm().forkserver_pid(), SIGKILL);
  for (const auto& run : runs) {
    const Outcome outcome = run->End();
    EXPECT_EQ(outcome.reason, Reason::kSandboxFailed) << Describe(outcome);
  }
  EXPECT_TRUE(Within(20s, [&] { return !vm().Alive(); }));
  const auto refused = driver().Fork("bash", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(Within(60s, [&] { return vm().Status().state == VmState::kFailed; }));
  EXPECT_THAT(vm().Status().reason, HasSubstr("forkserver"));
  EXPECT_TRUE(Within(20s, [&] {
    return std::none_of(machines.begin(), machines.end(),
                        [](pid_t pid) { return ::kill(pid, 0) == 0; });
  })) << "machines outlive the forkserver";
}

INSTANTIATE_TEST_SUITE_P(Drivers, VmFaults,
                         ::testing::Values(Breakable(vm::Design::kLive),
                                           Breakable(vm::Design::kSnapshot)),
                         NameOf);

// Whatever /dev/kvm is here: there, of no use, or missing.
TEST(VmAccelerator, IsWhatTheProcessorIsGoodForAndTheStatusSaysWhy) {
  const vm::KvmVerdict verdict = vm::ProbeKvm();
  EXPECT_NE(verdict.reason, "");
  auto options = VmTestOptions(vm::Design::kAuto);
  options.allow_kvm = true;
  const auto driver = VmDriver::Start(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  const vm::VmStatus status = (*driver)->Status();
  EXPECT_EQ(status.accelerator, verdict.usable ? "kvm" : "tcg") << verdict.reason;
  EXPECT_NE(status.kvm, "");
  EXPECT_NE(status.kvm, "not asked for");
}

}  // namespace
}  // namespace forkbox::sandbox::testing
