// The driver of virtual machines itself: what it needs to start, which way it chooses, a template
// that is booted again when it dies, an end that leaves nothing.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "runner/sandbox/vm/image_manifest.h"
#include "runner/sandbox/vm/sha256.h"
#include "tests/sandbox/vm_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using schema::Outcome;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::StartsWith;
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

// The QEMUs that are children of a process.
std::vector<pid_t> MachinesOf(pid_t parent) {
  std::vector<pid_t> machines;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::ifstream file(entry.path() / "stat");
    std::string pid;
    std::string name;
    std::string state;
    pid_t its_parent = 0;
    file >> pid >> name >> state >> its_parent;
    if (file && its_parent == parent && name.starts_with("(qemu")) {
      machines.push_back(std::stoi(pid));
    }
  }
  return machines;
}

// ------------------------------------------------------------------ the driver

TEST(VmDriverTest, WhatIsMissingIsSaidAtTheStart) {
  auto options = VmTestOptions(vm::Design::kAuto);
  options.image_dir = "/nowhere/vm-image";
  const auto without_image = VmDriver::Start(options);
  ASSERT_FALSE(without_image);
  EXPECT_EQ(without_image.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(without_image.error().message, HasSubstr("forkbox vm build"));

  options = VmTestOptions(vm::Design::kAuto);
  options.programs_dir = "/nowhere";
  const auto without_programs = VmDriver::Start(options);
  ASSERT_FALSE(without_programs);
  EXPECT_EQ(without_programs.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(without_programs.error().message, HasSubstr("/nowhere/forkbox-vm-launch"));

  options = VmTestOptions(vm::Design::kAuto);
  options.ram_bytes = 512ULL << 20;
  EXPECT_FALSE(VmDriver::Start(options));
}

// Where all would have one uid, the threads of all would be counted together.
TEST(VmDriverTest, WithoutRootThereAreNone) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const auto driver = VmDriver::Start(VmTestOptions(vm::Design::kAuto));
    const bool refused = !driver && driver.error().code == ErrorCode::kUnavailable &&
                         driver.error().message.find("root") != std::string::npos;
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(VmDriverTest, ABootHoldsNothingUpAndEndsWithTheDriver) {
  for (const vm::Design design : {vm::Design::kLive, vm::Design::kSnapshot}) {
    auto driver = VmDriver::Start(VmTestOptions(design));
    ASSERT_TRUE(driver) << driver.error().message;
    (*driver)->Open();
    EXPECT_EQ((*driver)->Status().state, VmState::kStarting);
    const auto refused = (*driver)->Fork("python", {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(refused.error().message, HasSubstr("starting"));
    EXPECT_FALSE((*driver)->WaitUntilReady(steady_clock::now() + 2s));
    const pid_t forkserver = (*driver)->forkserver_pid();
    const auto start = steady_clock::now();
    driver->reset();
    EXPECT_LT(steady_clock::now() - start, 15s);
    EXPECT_FALSE(std::filesystem::exists("/proc/" + std::to_string(forkserver)));
  }
}

TEST(VmDriverTest, WithoutItsForkserverItHasFailed) {
  auto driver = VmDriver::Start(VmTestOptions(vm::Design::kAuto));
  ASSERT_TRUE(driver) << driver.error().message;
  (*driver)->Open();
  EXPECT_TRUE((*driver)->Alive());
  ::kill((*driver)->forkserver_pid(), SIGKILL);
  const auto ready = (*driver)->WaitUntilReady(steady_clock::now() + 60s);
  ASSERT_FALSE(ready);
  EXPECT_EQ((*driver)->Status().state, VmState::kFailed);
  EXPECT_THAT(ready.error().message, HasSubstr("forkserver"));
  EXPECT_FALSE((*driver)->Alive());
}

// Some library that we have loaded ourselves.
std::string AnyLibrary() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find('/');
    if (at != line.npos && line.find("/libm.so", at) != line.npos) return line.substr(at);
  }
  return {};
}

// QEMU with another library than the one that makes it forkable: it does not find the descriptors
// that it is told about.
TEST(VmDriverTest, WhereTheFasterWayDoesNotWorkTheOtherDoes) {
  std::string folder = (fs::temp_directory_path() / "forkbox-vm-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  fs::permissions(folder, fs::perms(0755));
  fs::copy(FORKBOX_VM_PROGRAMS "/forkbox-vm-launch", folder);
  fs::copy_file(AnyLibrary(), folder + "/libforkbox_vm_live.so");
  auto options = VmTestOptions(vm::Design::kAuto);
  options.programs_dir = folder;
  const auto driver = StartVmDriver(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  EXPECT_EQ((*driver)->Status().design, "snapshot");
  EXPECT_THAT((*driver)->Status().reason, HasSubstr("live"));
  EXPECT_EQ(RunJob(**driver, Bash("echo all the same")).stdout_text, "all the same\n");
  fs::remove_all(folder);
}

TEST(VmDriverTest, ATemplateThatDiesIsBootedAgain) {
  auto options = VmTestOptions(vm::Design::kLive);
  options.pool_size = 2;
  auto driver = StartVmDriver(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  EXPECT_EQ((*driver)->Status().design, "live");
  ASSERT_TRUE(Within(30s, [&] { return (*driver)->Stats().pool_ready == 2; }));
  const auto templates = MachinesOf((*driver)->forkserver_pid());
  ASSERT_EQ(templates.size(), 1U);

  // Machines that die while they wait are not handed out.
  for (const pid_t machine : MachinesOf(templates[0])) ::kill(machine, SIGKILL);
  for (int i = 0; i < 3; ++i) {
    const Outcome outcome = RunJob(**driver, Bash("echo $((6 * 7))"));
    EXPECT_EQ(outcome.stdout_text, "42\n") << Describe(outcome);
  }

  ::kill(templates[0], SIGKILL);
  ASSERT_TRUE(Within(30s, [&] { return (*driver)->Status().state != VmState::kReady; }));
  EXPECT_EQ((*driver)->Status().state, VmState::kRebuilding);
  EXPECT_NE((*driver)->Status().reason, "");
  const auto refused = (*driver)->Fork("bash", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(IsReady(**driver, "bash"));

  const auto again = (*driver)->WaitUntilReady(steady_clock::now() + 6min);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ((*driver)->Status().templates_booted, 2U);
  EXPECT_EQ(RunJob(**driver, Bash("echo again")).stdout_text, "again\n");
}

// A folder of images, all of them with the files of the one that the tests have; they differ in
// what their manifests say.
class Images {
 public:
  Images() {
    // Beside the real one, for the sake of hard links.
    folder_ = VmTestOptions(vm::Design::kAuto).image_dir + "-test-XXXXXX";
    if (::mkdtemp(folder_.data()) == nullptr) std::abort();
    fs::permissions(folder_, fs::perms(0755));
  }
  ~Images() { fs::remove_all(folder_); }

  [[nodiscard]] const std::string& folder() const { return folder_; }
  // Makes it current. Its name.
  std::string Add(const std::function<void(vm::ImageManifest&)>& edit) const {
    const auto real = vm::VmImage::Open(VmTestOptions(vm::Design::kAuto).image_dir, "");
    EXPECT_TRUE(real) << real.error().message;
    auto manifest = vm::ImageManifest::Parse(ReadFile(real->folder + "/" + vm::kImageManifest));
    EXPECT_TRUE(manifest) << manifest.error().message;
    edit(*manifest);
    const std::string text = manifest->Encode();
    const std::string name = vm::Sha256Hex(text).substr(0, vm::kImageNameDigits);
    const fs::path place = fs::path(folder_) / name;
    fs::create_directory(place);
    for (const auto& file : manifest->files) {
      fs::create_hard_link(fs::path(real->folder) / file.name, place / file.name);
    }
    std::ofstream(place / vm::kImageManifest) << text;
    MakeCurrent(name);
    return name;
  }
  void MakeCurrent(const std::string& name) const {
    fs::create_directory_symlink(name, fs::path(folder_) / "next");
    fs::rename(fs::path(folder_) / "next", fs::path(folder_) / vm::kCurrentImage);
  }

 private:
  std::string folder_;
};

TEST(VmDriverTest, ANewImageTakesThePlaceOfTheOldOneWhileItIsServed) {
  const Images images;
  const std::string first = images.Add([](auto&) {});
  auto options = VmTestOptions(vm::Design::kLive);
  options.image_dir = images.folder();
  options.pool_size = 1;
  auto driver = StartVmDriver(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  EXPECT_THAT((*driver)->Status().image, StartsWith(first));
  EXPECT_EQ((*driver)->Status().reason, "");

  // One of another forkbox is not for us.
  images.Add([](vm::ImageManifest& manifest) { ++manifest.agent_version; });
  ASSERT_TRUE(Within(60s, [&] { return (*driver)->Status().reason != ""; }));
  EXPECT_THAT((*driver)->Status().reason, HasSubstr("its agent has version"));
  EXPECT_THAT((*driver)->Status().image, StartsWith(first));
  EXPECT_EQ((*driver)->Status().state, VmState::kReady);
  EXPECT_EQ(RunJob(**driver, Bash("echo as before")).stdout_text, "as before\n");

  // Another one of ours boots while the old one is served; what has begun in that ends in it.
  const Job job = Bash("echo held");
  auto held = (*driver)->Fork("bash", job.limits);
  ASSERT_TRUE(held) << held.error().message;
  const std::string second =
      images.Add([](vm::ImageManifest& manifest) { manifest.packages["another"] = "1"; });
  ASSERT_NE(first, second);
  EXPECT_EQ(RunJob(**driver, Bash("echo meanwhile")).stdout_text, "meanwhile\n");
  bool always_ready = true;
  ASSERT_TRUE(Within(360s, [&] {
    const vm::VmStatus status = (*driver)->Status();
    always_ready = always_ready && status.state == VmState::kReady;
    return status.image.starts_with(second);
  })) << (*driver)->Status().reason;
  EXPECT_TRUE(always_ready);
  EXPECT_EQ((*driver)->Status().reason, "");
  EXPECT_EQ((*driver)->Status().templates_booted, 2U);
  const Outcome after = RunJob(**driver, Bash("echo of the new"));
  EXPECT_EQ(after.stdout_text, "of the new\n") << Describe(after);
  EXPECT_EQ(MachinesOf((*driver)->forkserver_pid()).size(), 2U);
  EXPECT_EQ((*held)->Run(job.source, {}).stdout_text, "held\n");
  held->reset();
  ASSERT_TRUE(Within(30s, [&] { return MachinesOf((*driver)->forkserver_pid()).size() == 1; }));

  // And it boots again as the one that it is, whatever has become of the others.
  fs::remove_all(images.folder() + "/" + first);
  ::kill(MachinesOf((*driver)->forkserver_pid()).at(0), SIGKILL);
  ASSERT_TRUE(Within(30s, [&] { return (*driver)->Status().state != VmState::kReady; }));
  const auto again = (*driver)->WaitUntilReady(steady_clock::now() + 6min);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_THAT((*driver)->Status().image, StartsWith(second));
  EXPECT_EQ(RunJob(**driver, Bash("echo again")).stdout_text, "again\n");
}

// Its folder is what new machines of a snapshot open their disks in.
TEST(VmDriverTest, ATemplateWhoseForksAllFailIsGivenUp) {
  const Images images;
  const std::string first = images.Add([](auto&) {});
  auto options = VmTestOptions(vm::Design::kSnapshot);
  options.image_dir = images.folder();
  options.pool_size = 1;
  auto driver = StartVmDriver(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  ASSERT_TRUE(Within(60s, [&] { return (*driver)->Stats().pool_ready == 1; }));
  for (const char* disk : {vm::kBaseDisk, vm::kRuntimeDisk}) {
    fs::remove(fs::path(images.folder()) / first / disk);
  }
  // The one that waits is whole; those that come after it are not.
  EXPECT_EQ(RunJob(**driver, Bash("echo the last")).stdout_text, "the last\n");
  ASSERT_TRUE(Within(120s, [&] { return (*driver)->Status().state != VmState::kReady; }));
  EXPECT_THAT((*driver)->Status().reason, HasSubstr("forks failed 10 times in a row"));
}

TEST(VmDriverTest, AHostHasAsManyMachinesAsItsMemoryAllows) {
  const std::uint64_t gib = 1ULL << 30;
  const struct {
    std::uint64_t ram;
    std::uint64_t host;
    std::size_t machines;
  } cases[] = {{2 * gib, gib, 2},
               {2 * gib, 4 * gib, 2},
               {2 * gib, 64 * gib, 12},
               {gib, 64 * gib, 19},
               {2 * gib, 1024 * gib, 195}};
  for (const auto& c : cases) {
    EXPECT_EQ(vm::MachinesThatFit(c.ram, c.host), c.machines) << c.ram << " of " << c.host;
  }
}

TEST(VmDriverTest, ThereAreNoMoreThanMayBe) {
  auto options = VmTestOptions(vm::Design::kLive);
  options.pool_size = 1;
  options.max_machines = 2;
  auto driver = StartVmDriver(std::move(options));
  ASSERT_TRUE(driver) << driver.error().message;
  ASSERT_TRUE(Within(30s, [&] { return (*driver)->Stats().pool_ready == 1; }));
  auto one = (*driver)->Fork("bash", {});
  auto two = (*driver)->Fork("bash", {});
  ASSERT_TRUE(one && two);
  for (std::size_t i = 0; i < 2 * vm::kMostFailures; ++i) {
    const auto third = (*driver)->Fork("bash", {});
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(third.error().message, HasSubstr("2 virtual machines"));
  }
  one->reset();
  EXPECT_EQ(RunJob(**driver, Bash("echo room")).stdout_text, "room\n");
  EXPECT_EQ((*driver)->Status().state, VmState::kReady);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
