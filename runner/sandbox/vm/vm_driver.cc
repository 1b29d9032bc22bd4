#include "runner/sandbox/vm/vm_driver.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "runner/sandbox/missing_protections.h"
#include "runner/sandbox/process_sandbox.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/uid_range.h"
#include "runner/sandbox/vm/live_source.h"
#include "runner/sandbox/vm/vm_sandbox.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kProgramsTarget = "/opt/forkbox-vm";
constexpr const char* kLauncher = "/forkbox-vm-launch";
constexpr const char* kLiveLibrary = "/libforkbox_vm_live.so";

constexpr seconds kForkPatience{10};

// Beside the guest's memory: the code that is translated for it, and QEMU itself.
constexpr std::uint64_t kQemuBytes = 640ULL << 20;
// Of the guest's memory: its kernel, the agent, the warm templates of all languages.
constexpr std::uint64_t kGuestsOwnBytes = 512ULL << 20;
constexpr std::uint32_t kCellPids = 128;  // QEMU's threads, of which 64 can wait for disks
constexpr std::uint64_t kCellDiskBytes = 4ULL << 20;

// Compilers have limits of their own inside; this one holds where those do not.
constexpr seconds kCompileTime{120};

microseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
}

}  // namespace

std::size_t MachinesThatFit(std::uint64_t ram_bytes, std::uint64_t host_bytes) {
  return std::max<std::size_t>(2, host_bytes / 2 / (ram_bytes + kQemuBytes));
}

bool HasEnded(const ReadyMachine& machine) {
  // One that died while it waited says so on its status socket.
  pollfd polled{machine.fork.status.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) != 0;
}

Result<std::unique_ptr<VmDriver>> VmDriver::Start(VmDriverOptions options) {
  std::unique_ptr<VmDriver> driver(new VmDriver(std::move(options)));
  const VmDriverOptions& chosen = driver->options_;
  if (chosen.ram_bytes <= kGuestsOwnBytes || chosen.ram_bytes % (1U << 20) != 0) {
    return Fail(ErrorCode::kInvalidArgument, "the memory of a machine is whole MiB, more than " +
                                                 std::to_string(kGuestsOwnBytes >> 20));
  }
  // One uid for all machines would be one wall less, and RLIMIT_NPROC counts by uid: the threads of
  // all machines would have to share what is meant for one.
  if (::geteuid() != 0) {
    return Fail(ErrorCode::kUnavailable,
                "virtual machines take root at the start, for a uid of its own for each of them");
  }
  auto qemu = QemuBuild();
  if (!qemu) return Fail(qemu.error());
  driver->qemu_build_ = *qemu;
  const auto missing = [&](const char* program) -> std::string {
    const std::string path = chosen.programs_dir + program;
    return std::filesystem::exists(path) ? "" : path + " is missing: build forkbox again";
  };
  if (const std::string why = missing(kLauncher); !why.empty()) {
    return Fail(ErrorCode::kUnavailable, why);
  }
  const std::string why_not_live = missing(kLiveLibrary);
  if (!why_not_live.empty() && chosen.design == Design::kLive) {
    return Fail(ErrorCode::kUnavailable, why_not_live);
  }
  auto image = VmImage::Open(chosen.image_dir, chosen.runtime_hash);
  if (!image) return Fail(image.error());
  driver->image_ = std::move(*image);
  driver->kvm_ = chosen.allow_kvm && chosen.design != Design::kLive
                     ? ProbeKvm()
                     : KvmVerdict{false, "not asked for"};

  const bool kvm = driver->kvm_.usable;
  const bool live = !kvm && chosen.design != Design::kSnapshot && why_not_live.empty();
  if (!kvm && chosen.design == Design::kAuto && !live) {
    driver->left_out_ = std::string(ToString(Accelerator::kTcg)) + ", live: " + why_not_live;
  }
  driver->live_ = live;
  driver->snapshot_ = chosen.design != Design::kLive;
  driver->cell_.memory_bytes = chosen.ram_bytes + kQemuBytes;
  driver->cell_.pids = kCellPids;
  driver->cell_.disk_bytes = kCellDiskBytes;
  Machine& machine = driver->machine_;
  machine.ram_bytes = chosen.ram_bytes;
  machine.tsc_khz = MeasureTscKhz();
  machine.image = std::string(kImageFolder) + "/" + std::string(kVariant);

  ForkserverConfig config;
  config.root = RootKind::kMachines;
  config.kvm = kvm;
  // Beside the machines: templates that boot, proofs, and a few that wait for their burial.
  config.uid_count = static_cast<std::uint32_t>(chosen.max_machines + chosen.pool_size + 8);
  config.uid_base = DrawUidBase(config.uid_count);
  config.binds.push_back({chosen.image_dir, kImageFolder});
  config.binds.push_back({chosen.programs_dir, kProgramsTarget});
  TemplateSpec launcher;
  launcher.name = "launcher";
  launcher.command = {std::string(kProgramsTarget) + kLauncher};
  config.templates.push_back(std::move(launcher));
  // Two, so that one of a new image can boot while machines of the other run.
  for (std::size_t slot = 0; live && slot < driver->live_slots_.size(); ++slot) {
    config.templates.push_back(LiveTemplate(machine));
    config.templates.back().lazy = true;
  }

  auto client = ForkserverClient::Start(chosen.forkserver_path, std::move(config));
  if (!client) return Fail(client.error());
  driver->client_ = std::move(*client);
  VmStatus& status = driver->status_;
  status.accelerator = ToString(kvm ? Accelerator::kKvm : Accelerator::kTcg);
  status.kvm = driver->kvm_.reason;
  status.image = driver->image_.hash;
  status.ram_bytes = chosen.ram_bytes;
  return driver;
}

void VmDriver::Way::End() const {
  if (!ended.exchange(true)) source->Stop();
}

std::shared_ptr<const void> VmDriver::Lease::Take(
    std::shared_ptr<const Way> way, std::shared_ptr<std::atomic<std::size_t>> machines,
    std::size_t most) {
  if (++*machines > most) {
    --*machines;
    return nullptr;
  }
  return std::make_shared<const Lease>(std::move(way), std::move(machines));
}

VmDriver::~VmDriver() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  // A boot that is under way is not waited for: it fails.
  if (client_ != nullptr) client_->HangUp();
  if (tender_.joinable()) tender_.join();
}

void VmDriver::Open() {
  tender_ = std::thread([this] { Tend(); });
}

Result<void> VmDriver::WaitUntilReady(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const bool known = changed_.wait_until(lock, deadline, [this] {
    return status_.state == VmState::kReady || status_.state == VmState::kFailed;
  });
  if (known && status_.state == VmState::kReady) return {};
  return Fail(known ? ErrorCode::kUnavailable : ErrorCode::kDeadlineExceeded, WhyNotReady());
}

// ---------------------------------------------------------------------------- forks

void VmDriver::KeepReady(std::size_t machines) {
  std::deque<ReadyMachine> ended;  // torn down outside of the lock
  {
    const std::lock_guard lock(mutex_);
    pool_size_ = std::min(machines, options_.pool_size);
    for (; pool_.size() > pool_size_; pool_.pop_back()) ended.push_back(std::move(pool_.back()));
  }
  changed_.notify_all();
}

Result<std::unique_ptr<Sandbox>> VmDriver::Fork(const std::string& language,
                                                const schema::Limits& limits) {
  return ForkFor(language, limits, {}, schema::EntryKind::kScript);
}

Result<std::unique_ptr<Sandbox>> VmDriver::ForkFor(const std::string& language,
                                                   const schema::Limits& limits,
                                                   std::string_view /*code*/,
                                                   schema::EntryKind entry) {
  if (limits.memory_bytes > MostMemory()) {
    return Fail(ErrorCode::kInvalidArgument, "memory: a virtual machine has at most " +
                                                 std::to_string(MostMemory() >> 20) + " MiB");
  }
  std::shared_ptr<const Way> way;
  LanguageStatus found;
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(languages_.begin(), languages_.end(), [&](const auto& status) {
      return status.id == language || std::find(status.aliases.begin(), status.aliases.end(),
                                                language) != status.aliases.end();
    });
    if (it == languages_.end() && !languages_.empty()) {
      return Fail(ErrorCode::kInvalidArgument, "unknown language " + language);
    }
    if (way_ == nullptr || status_.state != VmState::kReady) {
      return Fail(ErrorCode::kUnavailable, WhyNotReady());
    }
    if (it == languages_.end()) {
      return Fail(ErrorCode::kUnavailable, "the image has no languages");
    }
    way = way_;
    found = *it;
  }
  if (!found.ready) {
    return Fail(ErrorCode::kUnavailable, language + " is not available: " + found.reason);
  }
  if (entry != schema::EntryKind::kScript &&
      !(entry == schema::EntryKind::kFunction && found.functions)) {
    return Fail(ErrorCode::kInvalidArgument, NoSuchEntry(found.id, entry));
  }
  const auto start = steady_clock::now();
  auto machine = Take(way);
  if (!machine) return Fail(machine.error());
  const bool compiled = found.execution_model != languages::ExecutionModel::kInterpreted;
  auto sandbox = std::make_unique<VmSandbox>(
      std::move(*machine), found.id, limits,
      way->accelerator == Accelerator::kTcg ? kEmulationFactor : 1, ToString(way->accelerator),
      Since(start), compiled ? milliseconds(kCompileTime) : milliseconds(0), found.functions);
  if (!sandbox->CanBeCancelled()) {
    return Fail(ErrorCode::kUnavailable, "descriptors ran out (RLIMIT_NOFILE)");
  }
  return std::unique_ptr<Sandbox>(std::move(sandbox));
}

Result<ReadyMachine> VmDriver::Take(const std::shared_ptr<const Way>& way) {
  if (const std::string stale = WhyStale(*way); !stale.empty()) {
    changed_.notify_all();
    return Fail(ErrorCode::kUnavailable, "the virtual machines are being rebuilt: " + stale);
  }
  std::deque<ReadyMachine> ended;  // torn down outside of the lock
  {
    const std::lock_guard lock(mutex_);
    while (way_ == way && !pool_.empty()) {
      ReadyMachine machine = std::move(pool_.front());
      pool_.pop_front();
      if (!HasEnded(machine)) {
        ++stats_.pool_hits;
        changed_.notify_all();
        return machine;
      }
      ended.push_back(std::move(machine));
    }
    ++stats_.pool_misses;
  }
  ended.clear();
  changed_.notify_all();
  return ForkOf(way, steady_clock::now() + kForkPatience);
}

Result<ReadyMachine> VmDriver::ForkOf(const std::shared_ptr<const Way>& way, Deadline deadline) {
  auto lease = Lease::Take(way, machines_, options_.max_machines);
  if (lease == nullptr) {
    return Fail(ErrorCode::kUnavailable, "there are " + std::to_string(options_.max_machines) +
                                             " virtual machines already, all that may be");
  }
  auto machine = way->source->Fork(deadline);
  if (!machine) {
    CountFailure(*way, machine.error().message);
    return machine;
  }
  machine->lease = std::move(lease);
  if (!machine->monitor) way->failures = 0;  // else it is not known yet whether it comes up
  return machine;
}

void VmDriver::CountFailure(const Way& way, const std::string& why) {
  // No fault of the template's.
  for (const char* shortage : {"too many sandboxes", "descriptors ran out"}) {
    if (why.find(shortage) != std::string::npos) return;
  }
  if (++way.failures < kMostFailures) return;
  const std::lock_guard lock(mutex_);
  last_failure_ = why;
  changed_.notify_all();
}

std::string VmDriver::WhyStale(const Way& way) const {
  if (!client_->alive()) return "the forkserver of the virtual machines is gone";
  if (std::string why = way.source->WhyStale(); !why.empty()) return why;
  if (way.failures < kMostFailures) return "";
  const std::lock_guard lock(mutex_);
  return "forks failed " + std::to_string(kMostFailures) +
         " times in a row, at last: " + last_failure_;
}

// ---------------------------------------------------------------------------- what there is

std::string VmDriver::WhyNotReady() const {
  std::string why = "the virtual machines are not ready (" + std::string(ToString(status_.state));
  if (!status_.reason.empty()) why += ": " + status_.reason;
  return why + ")";
}

std::vector<LanguageStatus> VmDriver::Languages() const {
  const std::lock_guard lock(mutex_);
  std::vector<LanguageStatus> all = languages_;
  if (status_.state == VmState::kReady) return all;
  for (LanguageStatus& status : all) {
    if (!std::exchange(status.ready, false)) continue;
    status.reason = WhyNotReady();
  }
  return all;
}

DriverStats VmDriver::Stats() const {
  const std::lock_guard lock(mutex_);
  DriverStats stats = stats_;
  stats.pool_ready = pool_.size();
  return stats;
}

std::vector<std::string> VmDriver::MissingProtections() const {
  const std::lock_guard lock(mutex_);
  return NamesOfMissing(protections_, ~std::uint32_t{kFreezer});  // nothing is ever paused here
}

VmStatus VmDriver::Status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::uint64_t VmDriver::MostMemory() const { return options_.ram_bytes - kGuestsOwnBytes; }

}  // namespace forkbox::sandbox::vm
