#include "runner/sandbox/vm/machine.h"

#include <openssl/sha.h>
#include <sys/stat.h>
#include <time.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>

#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {
namespace {

// Of translated code. The warm-up of all languages fills 300 MiB; what does not fit is thrown away
// whole and translated anew.
constexpr int kTranslatedMib = 512;

// For reads of the disks that are in flight; of QEMU's own accord they would be 64.
constexpr int kDiskThreads = 16;

std::string InImage(const Machine& machine, const char* name) { return machine.image + "/" + name; }

std::string Number(std::uint64_t number) { return std::to_string(number); }

// The words that a template and its forks have in common: all that is state.
std::vector<std::string> CommonWords(const Machine& machine, const MachineFds& fds, bool shared_ram,
                                     std::string_view sandbox) {
  const std::string ram_mib = Number(machine.ram_bytes >> 20) + "M";
  std::vector<std::string> words{
      kQemuPath,
      // acpi=on: the kernel finds virtio devices through the DSDT, Debian's knows no other way.
      // mem-merge=off: pages of two tenants that the host merges tell by the time of a write what
      // is in the other's.
      "-M",
      "microvm,memory-backend=ram,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on,pcie=off,"
      "mem-merge=off,dump-guest-core=off",
      "-m",
      ram_mib,
      "-smp",
      "1",
      "-nodefaults",
      "-no-user-config",
      "-nographic",
      "-no-reboot",
  };
  const auto add = [&](const char* option, std::string value) {
    words.emplace_back(option);
    words.push_back(std::move(value));
  };
  if (machine.accelerator == Accelerator::kKvm) {
    add("-accel", "kvm");
    add("-cpu", "host");
  } else {
    add("-accel", "tcg,tb-size=" + std::to_string(kTranslatedMib));
    // Without five-level page tables, which are slower; and without fast string operations, which
    // are translated byte by byte: clearing a page in words takes less than half the time. And the
    // guest's kernel need not open and close its users' memory around every access (SMAP), which
    // ends a translated block each time: it has one user, whose walls are the machine's.
    add("-cpu", "max,-la57,-erms,-fsrm,-smap");
  }
  // Its cell has a limit of them, and a thread that cannot be started is QEMU's end.
  add("-object", "main-loop,id=main-loop,thread-pool-max=" + std::to_string(kDiskThreads));
  if (fds.ram < 0) {
    add("-object", "memory-backend-ram,id=ram,size=" + ram_mib);
  } else {
    add("-object", "memory-backend-file,id=ram,size=" + ram_mib + ",mem-path=/proc/self/fd/" +
                       std::to_string(fds.ram) + ",share=" + (shared_ram ? "on" : "off"));
  }
  add("-device", "virtio-serial-device");
  add("-chardev", "socket,id=agent,fd=" + std::to_string(fds.agent));
  add("-device", "virtserialport,chardev=agent,name=agent");
  // Nobody writes to them, so there is nothing to lock.
  for (const char* disk : {kBaseDisk, kRuntimeDisk}) {
    const std::string id = disk == kBaseDisk ? "base" : "runtime";
    add("-drive",
        "if=none,id=" + id + ",file=" + InImage(machine, disk) + ",format=raw,readonly=on,file.locking=off");
    add("-device", "virtio-blk-device,drive=" + id);
  }
  add("-chardev", "socket,id=monitor,fd=" + std::to_string(fds.monitor));
  add("-mon", "chardev=monitor,mode=control");
  if (!sandbox.empty()) add("-sandbox", std::string(sandbox));
  return words;
}

std::string KernelWords(const Machine& machine) {
  // A panic ends the machine: with -no-reboot, which takes a microvm's word for it (a triple fault:
  // reboot=t) only. On hardware-reduced ACPI there is no timer to
  // calibrate the time stamp counter by: without its frequency the kernel can wait for ever.
  std::string words =
      "console=ttyS0 panic=-1 reboot=t quiet tsc_early_khz=" + Number(machine.tsc_khz);
  if (machine.accelerator == Accelerator::kTcg) {
    // Nothing here checks the counter against another clock, so that without being told the kernel
    // does not trust it and counts jiffies. Translated code is kept by its virtual address: with
    // another one at every exec it would all be translated again. The
    // mitigations cost much here and protect the tenants of one machine from each other: it has
    // one.
    words += " tsc=reliable norandmaps mitigations=off";
  }
  return words;
}

std::string VersionOf(const char* program) {
  const std::unique_ptr<FILE, int (*)(FILE*)> output(
      ::popen((std::string(program) + " --version").c_str(), "re"), ::pclose);
  std::array<char, 256> line{};
  if (output == nullptr || std::fgets(line.data(), line.size(), output.get()) == nullptr) return {};
  std::string version(line.data());
  version.erase(version.find_last_not_of('\n') + 1);
  return version;
}

std::string HexSha256(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

struct Instant {
  std::uint64_t ticks = 0;
  std::uint64_t ns = 0;           // between the two looks at the clock
  std::uint64_t uncertainty = 0;  // ns from one to the other
};

Instant Now() {
  const auto clock = [] {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
  };
  const std::uint64_t before = clock();
  const std::uint64_t ticks = __rdtsc();
  const std::uint64_t after = clock();
  return {ticks, before + (after - before) / 2, after - before};
}

}  // namespace

std::string_view ToString(Accelerator accelerator) {
  return accelerator == Accelerator::kKvm ? "kvm" : "tcg";
}

std::vector<std::string> BootCommand(const Machine& machine, const MachineFds& fds,
                                     std::string_view sandbox) {
  std::vector<std::string> words = CommonWords(machine, fds, /*shared_ram=*/true, sandbox);
  // What the kernel says comes out of QEMU's standard output. (It refuses a standard stream as a
  // descriptor of its own, and the pipe behind one cannot be opened anew with another uid.)
  for (const std::string& word :
       {std::string("-chardev"), std::string("stdio,id=console,signal=off"), std::string("-serial"),
        std::string("chardev:console"), std::string("-kernel"), InImage(machine, kKernelFile),
        std::string("-initrd"), InImage(machine, kInitrdFile), std::string("-append"),
        KernelWords(machine)}) {
    words.push_back(word);
  }
  return words;
}

std::vector<std::string> ForkCommand(const Machine& machine, const MachineFds& fds,
                                     std::string_view sandbox) {
  std::vector<std::string> words = CommonWords(machine, fds, /*shared_ram=*/false, sandbox);
  // The port must be there, since its state is; what comes out of it nobody wants to know.
  for (const char* word : {"-serial", "null", "-S", "-incoming", "defer"}) words.emplace_back(word);
  return words;
}

std::string MachineKey(const Machine& machine, std::string_view qemu_build) {
  std::string text(qemu_build);
  for (const std::string& word : ForkCommand(machine, {}, {})) text += '\n' + word;
  return HexSha256(text);
}

Result<std::string> QemuBuild() {
  struct stat file {};
  if (::stat(kQemuPath, &file) != 0) {
    return Fail(ErrorCode::kUnavailable,
                std::string(kQemuPath) + " is missing: apt-get install qemu-system-x86");
  }
  const std::string this_file = Number(static_cast<std::uint64_t>(file.st_size)) +
                                " bytes, inode " + Number(file.st_ino) + ", changed " +
                                std::to_string(file.st_mtim.tv_sec) + "." +
                                std::to_string(file.st_mtim.tv_nsec);
  // Asked before every fork, and its answer takes QEMU 12 ms: again only of another file.
  static std::mutex mutex;
  static std::string asked_file;
  static std::string version;
  const std::lock_guard lock(mutex);
  if (asked_file != this_file) {
    version = VersionOf(kQemuPath);
    if (version.empty()) {
      return Fail(ErrorCode::kUnavailable, std::string(kQemuPath) +
                                               " does not run: apt-get install --reinstall "
                                               "qemu-system-x86");
    }
    asked_file = this_file;
  }
  return std::string(kQemuPath) + ": " + version + "; " + this_file;
}

std::uint64_t MeasureTscKhz() {
  // Of three windows the one whose ends were seen most exactly: no other process came in between.
  std::uint64_t best_khz = 0;
  std::uint64_t best_uncertainty = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < 3; ++i) {
    const Instant start = Now();
    const timespec window{0, 20'000'000};
    ::nanosleep(&window, nullptr);
    const Instant end = Now();
    const std::uint64_t uncertainty = start.uncertainty + end.uncertainty;
    if (uncertainty >= best_uncertainty || end.ns <= start.ns) continue;
    best_uncertainty = uncertainty;
    best_khz = (end.ticks - start.ticks) * 1'000'000 / (end.ns - start.ns);
  }
  return best_khz;
}

}  // namespace forkbox::sandbox::vm
