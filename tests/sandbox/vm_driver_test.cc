// The driver of virtual machines itself: what it needs to start, which way it chooses, a template that
// is booted again when it dies, an end that leaves nothing.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/sandbox/vm_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
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
  namespace fs = std::filesystem;
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

}  // namespace
}  // namespace forkbox::sandbox::testing
