// Verdicts that hold on any machine: what a device must be to be asked at all, and that asking the
// real one comes to an end.
#include "runner/sandbox/vm/kvm_probe.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>

namespace forkbox::sandbox::vm {
namespace {

using testing::HasSubstr;

// Whoever is asked leaves nobody behind.
bool HasChildren() { return ::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD; }

struct Case {
  std::string name;
  std::string device;
  std::string reason;  // a part of it
};

class NoKvm : public testing::TestWithParam<Case> {};

TEST_P(NoKvm, IsNotUsableAndSaysWhy) {
  const KvmVerdict verdict = ProbeKvm(GetParam().device);
  EXPECT_FALSE(verdict.usable);
  EXPECT_THAT(verdict.reason, HasSubstr(GetParam().reason));
  EXPECT_THAT(verdict.reason, HasSubstr(GetParam().device));
  EXPECT_FALSE(HasChildren());
}

INSTANTIATE_TEST_SUITE_P(
    Devices, NoKvm,
    testing::Values(Case{"missing", "/nowhere/kvm", "there is no /nowhere/kvm"},
                    Case{"below_a_file", "/dev/null/kvm", "there is no /dev/null/kvm"},
                    Case{"another_device", "/dev/null", "is not KVM"},
                    Case{"a_folder", "/tmp", "cannot be opened: Is a directory"}),
    [](const auto& test) { return test.param.name; });

TEST(KvmProbeTest, ADeviceThatWeMayNotOpenIsNotUsable) {
  std::string path = "/tmp/forkbox-kvm-XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  ::fchmod(fd, 0);
  ::close(fd);
  // For root there is no such file.
  const bool root = ::geteuid() == 0;
  ASSERT_EQ(root ? ::seteuid(65534) : 0, 0);
  const KvmVerdict verdict = ProbeKvm(path);
  ASSERT_EQ(root ? ::seteuid(0) : 0, 0);
  ::unlink(path.c_str());
  EXPECT_FALSE(verdict.usable);
  EXPECT_THAT(verdict.reason, HasSubstr("cannot be opened: Permission denied"));
}

// A host with more to do than processors: whoever is asked comes to it half a second late.
bool children_are_late = false;
void ComeLate() {
  if (children_are_late) ::usleep(500'000);
}

TEST(KvmProbeTest, ABusyHostIsWaitedFor) {
  ASSERT_EQ(::pthread_atfork(nullptr, nullptr, ComeLate), 0);
  children_are_late = true;
  const KvmVerdict verdict = ProbeKvm("/dev/null");
  children_are_late = false;
  EXPECT_THAT(verdict.reason, HasSubstr("is not KVM"));
}

TEST(KvmProbeTest, TheDeviceOfThisMachineGetsAVerdictInTimeAndLeavesNoChild) {
  const auto start = std::chrono::steady_clock::now();
  const KvmVerdict verdict = ProbeKvm();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_FALSE(HasChildren());
  EXPECT_FALSE(verdict.reason.empty());
  RecordProperty("usable", verdict.usable ? "yes" : "no");
  RecordProperty("reason", verdict.reason);
  if (verdict.usable) {
    EXPECT_THAT(verdict.reason, HasSubstr("M iterations/s of CPU time"));
  }
}

}  // namespace
}  // namespace forkbox::sandbox::vm
