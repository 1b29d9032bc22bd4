// The words QEMU is given: a template and its forks must be the same machine to the letter.
#include "runner/sandbox/vm/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace forkbox::sandbox::vm {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

const Machine kEmulated{Accelerator::kTcg, 512ULL << 20, 2'596'100};
const Machine kHardware{Accelerator::kKvm, 512ULL << 20, 2'596'100};

// What follows `option`, every time it is there.
std::vector<std::string> ValuesOf(const std::vector<std::string>& words, std::string_view option) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == option) values.push_back(words[i + 1]);
  }
  return values;
}

TEST(MachineTest, ForksAreTheMachineThatTheirTemplateIs) {
  for (const Machine& machine : {kEmulated, kHardware}) {
    const MachineFds fds{3, 4, 5};
    const auto boot = BootCommand(machine, fds, "on");
    const auto fork = ForkCommand(machine, fds, "on");
    for (const char* option : {"-M", "-m", "-smp", "-accel", "-cpu", "-device", "-drive"}) {
      EXPECT_EQ(ValuesOf(boot, option), ValuesOf(fork, option)) << option;
      EXPECT_FALSE(ValuesOf(boot, option).empty()) << option;
    }
  }
}

TEST(MachineTest, OnlyTheTemplateBootsAndOnlyItWritesToTheMemoryFile) {
  const auto boot = BootCommand(kEmulated, {3, 4, 5}, "");
  EXPECT_THAT(ValuesOf(boot, "-kernel"), testing::ElementsAre("/image/vmlinuz"));
  EXPECT_THAT(ValuesOf(boot, "-initrd"), testing::ElementsAre("/image/initrd.cpio.gz"));
  EXPECT_THAT(ValuesOf(boot, "-object"), Contains(HasSubstr("mem-path=/proc/self/fd/5,share=on")));
  EXPECT_THAT(boot, Not(Contains("-incoming")));

  const auto fork = ForkCommand(kEmulated, {3, 4, 5}, "");
  EXPECT_THAT(ValuesOf(fork, "-object"), Contains(HasSubstr("mem-path=/proc/self/fd/5,share=off")));
  EXPECT_THAT(ValuesOf(fork, "-object"), Not(Contains(HasSubstr("share=on"))));
  EXPECT_THAT(ValuesOf(fork, "-incoming"), testing::ElementsAre("defer"));
  EXPECT_THAT(fork, Contains("-S"));
  for (const char* option : {"-kernel", "-initrd", "-append"}) {
    EXPECT_THAT(fork, Not(Contains(option)));
  }
}

TEST(MachineTest, WithoutAMemoryFileItsMemoryIsItsOwn) {
  const auto boot = BootCommand(kEmulated, {10, 11, -1}, "");
  EXPECT_THAT(ValuesOf(boot, "-object"), Contains("memory-backend-ram,id=ram,size=512M"));
  EXPECT_THAT(ValuesOf(boot, "-chardev"), Contains("socket,id=agent,fd=10"));
  EXPECT_THAT(ValuesOf(boot, "-chardev"), Contains("socket,id=monitor,fd=11"));
}

// What the host could merge with another tenant's, or leave on its disk.
TEST(MachineTest, TheMemoryOfAMachineIsNoOnesElse) {
  for (const Machine& machine : {kEmulated, kHardware}) {
    const std::string words = ValuesOf(ForkCommand(machine, {3, 4, 5}, ""), "-M").at(0);
    EXPECT_THAT(words, HasSubstr(",mem-merge=off"));
    EXPECT_THAT(words, HasSubstr(",dump-guest-core=off"));
  }
}

// Several images beside each other are below one folder.
TEST(MachineTest, TheImageIsWhereTheMachineSays) {
  Machine machine = kEmulated;
  machine.image = "/image/0123456789ab";
  const auto boot = BootCommand(machine, {3, 4, 5}, "");
  EXPECT_THAT(ValuesOf(boot, "-kernel"), testing::ElementsAre("/image/0123456789ab/vmlinuz"));
  EXPECT_THAT(ValuesOf(boot, "-initrd"),
              testing::ElementsAre("/image/0123456789ab/initrd.cpio.gz"));
  for (const char* disk : {"base.erofs", "runtime.erofs"}) {
    EXPECT_THAT(ValuesOf(ForkCommand(machine, {3, 4, 5}, ""), "-drive"),
                Contains(HasSubstr(std::string("file=/image/0123456789ab/") + disk + ",")));
  }
  EXPECT_NE(MachineKey(machine, ""), MachineKey(kEmulated, ""));
}

// A panic is the end of the process for a triple fault only.
TEST(MachineTest, APanicEndsIt) {
  for (const Machine& machine : {kEmulated, kHardware}) {
    const auto boot = BootCommand(machine, {3, 4, 5}, "");
    EXPECT_THAT(boot, Contains("-no-reboot"));
    EXPECT_THAT(ValuesOf(boot, "-append").at(0), HasSubstr(" panic=-1 reboot=t "));
  }
}

// More threads than a cell may have would be the end of a program that only reads much at once.
TEST(MachineTest, TheThreadsThatReadDisksAreFew) {
  for (const auto& words :
       {BootCommand(kEmulated, {3, 4, -1}, ""), ForkCommand(kHardware, {3, 4, 5}, "")}) {
    EXPECT_THAT(ValuesOf(words, "-object"),
                Contains(HasSubstr("main-loop,id=main-loop,thread-pool-max=16")));
  }
}

TEST(MachineTest, TheSandboxIsLeftOutOrAsAsked) {
  EXPECT_THAT(BootCommand(kEmulated, {3, 4, 5}, ""), Not(Contains("-sandbox")));
  EXPECT_THAT(ValuesOf(ForkCommand(kEmulated, {3, 4, 5}, "on,spawn=deny"), "-sandbox"),
              testing::ElementsAre("on,spawn=deny"));
}

TEST(MachineTest, WhatEmulationNeedsHardwareDoesNotGet) {
  const std::string emulated = ValuesOf(BootCommand(kEmulated, {3, 4, 5}, ""), "-append").at(0);
  EXPECT_THAT(emulated, HasSubstr("tsc_early_khz=2596100"));
  EXPECT_THAT(emulated, HasSubstr("tsc=reliable"));
  EXPECT_THAT(emulated, HasSubstr("norandmaps"));
  const std::string hardware = ValuesOf(BootCommand(kHardware, {3, 4, 5}, ""), "-append").at(0);
  EXPECT_THAT(hardware, Not(HasSubstr("norandmaps")));
  EXPECT_THAT(hardware, Not(HasSubstr("mitigations")));
}

TEST(MachineTest, AKeyIsThatOfOneMachineAndOneQemu) {
  const std::string key = MachineKey(kEmulated, "QEMU 7.2.22");
  EXPECT_EQ(key.size(), 64U);
  EXPECT_EQ(key, MachineKey(kEmulated, "QEMU 7.2.22"));
  EXPECT_NE(key, MachineKey(kEmulated, "QEMU 7.2.23"));
  EXPECT_NE(key, MachineKey(kHardware, "QEMU 7.2.22"));
  Machine larger = kEmulated;
  larger.ram_bytes *= 2;
  EXPECT_NE(key, MachineKey(larger, "QEMU 7.2.22"));
}

TEST(MachineTest, TheInstalledQemuSaysWhichItIsOrHowToGetIt) {
  const auto build = QemuBuild();
  if (build) {
    EXPECT_THAT(*build, HasSubstr("version"));
    EXPECT_EQ(*build, *QemuBuild());
  } else {
    EXPECT_THAT(build.error().message, HasSubstr("apt-get install"));
  }
}

TEST(MachineTest, TheCounterRunsAtTheSameRateTwice) {
  const auto first = static_cast<double>(MeasureTscKhz());
  const auto second = static_cast<double>(MeasureTscKhz());
  EXPECT_GT(first, 100'000);  // 100 MHz
  EXPECT_NEAR(second / first, 1.0, 0.02);
}

}  // namespace
}  // namespace forkbox::sandbox::vm
