#include "runner/sandbox/vm/kvm_probe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A processor of this century does 2,500 of such iterations in a microsecond; an emulated KVM 0.5
// to 1.1. Far from both, so that neither decides by a bad day.
constexpr double kWantedPerUs = 100;
constexpr std::uint32_t kIterations = 20'000'000;
constexpr milliseconds kRunTime{100};  // of the loop, before it is interrupted to see how far it is
// Time on the clock, of which a busy host gives the loop its 100 ms when it gets round to it.
constexpr milliseconds kKillAfter{2000};
constexpr milliseconds kBurialTime{300};

// ---- In the child: system calls only, its memory is a copy of a program that may have anything.

enum class Step : std::uint32_t {
  kOpen,
  kVersion,
  kCreateVm,
  kMemory,
  kCreateVcpu,
  kRegisters,
  kRun,
  kExit,  // the virtual processor came back for another reason than the one it was given
  kDone,
};

struct Report {
  Step step = Step::kDone;
  std::int32_t error = 0;  // errno, or of kVersion and kExit what it was instead
  std::uint64_t iterations = 0;
  std::uint64_t cpu_us = 0;
};

volatile std::uint8_t* immediate_exit = nullptr;  // of the child's kvm_run

void Interrupt(int) {
  if (immediate_exit != nullptr) *immediate_exit = 1;
}

std::uint64_t ThreadCpuUs() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec) / 1000;
}

constexpr std::size_t kMemory = 2U << 20;
constexpr std::size_t kCodeAt = 0x1000;
constexpr std::size_t kTablesAt = 0x2000;
constexpr std::uint16_t kPort = 0x80;

// A 64-bit program at privilege 0, and page tables that map its memory where it is: Intel SDM 3A,
// 4.5 (4-level paging).
void WriteProgram(std::uint8_t* memory) {
  constexpr std::array<std::uint8_t, 16> kCode{
      0xb9, 0,     0, 0, 0,  // mov ecx, kIterations
      0xff, 0xc9,            // dec ecx
      0x75, 0xfc,            // jnz to the dec
      0x31, 0xc0,            // xor eax, eax
      0x0f, 0xa2,            // cpuid: an exit that the kernel answers
      0xe6, kPort,           // out: one that we are to see
      0xf4,                  // hlt
  };
  std::memcpy(memory + kCodeAt, kCode.data(), kCode.size());
  std::memcpy(memory + kCodeAt + 1, &kIterations, sizeof kIterations);
  constexpr std::uint64_t kPresentWritable = 3;
  constexpr std::uint64_t kLarge = 0x80;
  const std::array<std::uint64_t, 3> first_entries{(kTablesAt + 0x1000) | kPresentWritable,
                                                   (kTablesAt + 0x2000) | kPresentWritable,
                                                   kLarge | kPresentWritable};
  for (std::size_t i = 0; i < first_entries.size(); ++i) {
    std::memcpy(memory + kTablesAt + i * 0x1000, &first_entries[i], sizeof first_entries[i]);
  }
}

bool SetRegisters(int vcpu) {
  kvm_sregs special{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &special) != 0) return false;
  special.cr3 = kTablesAt;
  special.cr4 = 1U << 5;     // PAE
  special.cr0 = 0x80050033;  // paging, protection, as after reset otherwise
  special.efer = 0x500;      // long mode, enabled and active
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.present = segment.s = segment.g = 1;
  segment.selector = 8;
  segment.type = 11;  // code
  segment.l = 1;
  special.cs = segment;
  segment.selector = 16;
  segment.type = 3;  // data
  segment.l = 0;
  segment.db = 1;
  special.ds = special.es = special.fs = special.gs = special.ss = segment;
  kvm_regs registers{};
  registers.rip = kCodeAt;
  registers.rsp = 0x8000;
  registers.rflags = 2;
  return ::ioctl(vcpu, KVM_SET_SREGS, &special) == 0 &&
         ::ioctl(vcpu, KVM_SET_REGS, &registers) == 0;
}

Report Failed(Step step, int error) {
  Report report;
  report.step = step;
  report.error = error;
  return report;
}

Report RunLoop(int vcpu, kvm_run* run) {
  immediate_exit = &run->immediate_exit;
  struct sigaction action {};
  action.sa_handler = Interrupt;
  ::sigaction(SIGALRM, &action, nullptr);
  const timeval run_time{0, kRunTime / std::chrono::microseconds(1)};
  const itimerval timer{run_time, run_time};
  ::setitimer(ITIMER_REAL, &timer, nullptr);

  Report report;
  const std::uint64_t start = ThreadCpuUs();
  for (;;) {
    const bool interrupted = ::ioctl(vcpu, KVM_RUN, 0) != 0;
    const int error = errno;
    report.cpu_us = ThreadCpuUs() - start;
    if (!interrupted) {
      if (run->exit_reason != KVM_EXIT_IO || run->io.port != kPort) {
        return Failed(Step::kExit, static_cast<std::int32_t>(run->exit_reason));
      }
      report.iterations = kIterations;
      return report;
    }
    if (error != EINTR) return Failed(Step::kRun, error);
    kvm_regs registers{};
    if (::ioctl(vcpu, KVM_GET_REGS, &registers) != 0) return Failed(Step::kRegisters, errno);
    report.iterations =
        registers.rip == kCodeAt ? 0 : kIterations - static_cast<std::uint32_t>(registers.rcx);
    // Fast enough, but the host did not let it run: it is to show that it also comes to its end.
    const bool fast =
        static_cast<double>(report.iterations) > kWantedPerUs * static_cast<double>(report.cpu_us);
    if (!fast) return report;
    *immediate_exit = 0;
  }
}

Report Probe(const char* device) {
  const int kvm = ::open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (kvm < 0) return Failed(Step::kOpen, errno);
  const int version = ::ioctl(kvm, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) return Failed(Step::kVersion, version < 0 ? errno : 0);
  const int machine = ::ioctl(kvm, KVM_CREATE_VM, 0);
  if (machine < 0) return Failed(Step::kCreateVm, errno);
  // Three pages that Intel's virtualisation wants for itself, where there is nothing else. Other
  // processors do without, and say so.
  (void)::ioctl(machine, KVM_SET_TSS_ADDR, 0xfffbd000);

  void* const memory =
      ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Failed(Step::kMemory, errno);
  WriteProgram(static_cast<std::uint8_t*>(memory));
  kvm_userspace_memory_region region{};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory);
  if (::ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
    return Failed(Step::kMemory, errno);
  }

  const int vcpu = ::ioctl(machine, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return Failed(Step::kCreateVcpu, errno);
  const int shared_size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (shared_size < static_cast<int>(sizeof(kvm_run))) return Failed(Step::kCreateVcpu, errno);
  void* const shared = ::mmap(nullptr, static_cast<std::size_t>(shared_size),
                              PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (shared == MAP_FAILED) return Failed(Step::kCreateVcpu, errno);
  // All that the host's processor can, long mode among it.
  constexpr std::size_t kMaxFeatures = 128;
  alignas(kvm_cpuid2)
      std::array<std::uint8_t, sizeof(kvm_cpuid2) + kMaxFeatures * sizeof(kvm_cpuid_entry2)>
          buffer{};
  auto* const features = reinterpret_cast<kvm_cpuid2*>(buffer.data());
  features->nent = kMaxFeatures;
  if (::ioctl(kvm, KVM_GET_SUPPORTED_CPUID, features) == 0) {
    (void)::ioctl(vcpu, KVM_SET_CPUID2, features);
  }
  if (!SetRegisters(vcpu)) return Failed(Step::kRegisters, errno);
  return RunLoop(vcpu, static_cast<kvm_run*>(shared));
}

// ---- In the parent.

const char* NameOf(Step step) {
  switch (step) {
    case Step::kOpen:
      return "open";
    case Step::kVersion:
      return "KVM_GET_API_VERSION";
    case Step::kCreateVm:
      return "KVM_CREATE_VM";
    case Step::kMemory:
      return "KVM_SET_USER_MEMORY_REGION";
    case Step::kCreateVcpu:
      return "KVM_CREATE_VCPU";
    case Step::kRegisters:
      return "registers";
    case Step::kRun:
    case Step::kExit:
      return "KVM_RUN";
    case Step::kDone:
      break;
  }
  return "?";
}

KvmVerdict Judge(const std::string& device, const Report& report) {
  const std::string why = ::strerror(report.error);
  if (report.step == Step::kOpen) {
    const bool missing = report.error == ENOENT || report.error == ENOTDIR;
    const bool no_hardware = report.error == ENODEV || report.error == ENXIO;
    if (missing) return {false, "there is no " + device};
    if (no_hardware) return {false, device + " has nothing behind it: " + why};
    return {false, device + " cannot be opened: " + why};
  }
  if (report.step == Step::kVersion) {
    if (report.error == 0) return {false, device + " speaks another version of KVM"};
    return {false, device + " is not KVM: " + why};
  }
  if (report.step == Step::kExit) {
    return {false, device + " does not run a simple loop: KVM_RUN came back for reason " +
                       std::to_string(report.error)};
  }
  if (report.step != Step::kDone) {
    return {false, device + " does not work: " + NameOf(report.step) + ": " + why};
  }
  const double rate = static_cast<double>(report.iterations) /
                      static_cast<double>(report.cpu_us == 0 ? 1 : report.cpu_us);
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%.1f M iterations/s of CPU time, wants %.0f", rate,
                kWantedPerUs);
  if (report.iterations == kIterations && rate >= kWantedPerUs) return {true, text.data()};
  return {false, device + " is too slow: " + text.data()};
}

bool Readable(int fd, milliseconds time) {
  const auto until = steady_clock::now() + time;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    pollfd polled{fd, POLLIN, 0};
    const int n = ::poll(&polled, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (n >= 0 || errno != EINTR) return n > 0;
  }
}

}  // namespace

KvmVerdict ProbeKvm(const std::string& device) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {false, "pipe: " + std::string(strerror(errno))};
  const UniqueFd from_child(ends[0]);
  UniqueFd to_parent(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return {false, "fork: " + std::string(strerror(errno))};
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const Report report = Probe(device.c_str());
    (void)!::write(to_parent.get(), &report, sizeof report);
    ::_exit(0);
  }
  to_parent.Reset();
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));

  Report report;
  const bool answered = Readable(from_child.get(), kKillAfter) &&
                        ::read(from_child.get(), &report, sizeof report) == sizeof report;
  ::kill(child, SIGKILL);
  // One that hangs in the kernel cannot be killed either; then it is left behind.
  if (!process.valid() || Readable(process.get(), kBurialTime)) {
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (!answered) {
    return {false, device + " did not finish a simple loop within " +
                       std::to_string(kKillAfter.count()) + " ms"};
  }
  return Judge(device, report);
}

}  // namespace forkbox::sandbox::vm
