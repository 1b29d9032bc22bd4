#include "runner/sandbox/vm/vm_driver.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

#include "runner/sandbox/missing_protections.h"
#include "runner/sandbox/process_sandbox.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/uid_range.h"
#include "runner/sandbox/vm/live_source.h"
#include "runner/sandbox/vm/proof.h"
#include "runner/sandbox/vm/snapshot_source.h"
#include "runner/sandbox/vm/vm_sandbox.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kProgramsTarget = "/opt/forkbox-vm";
constexpr const char* kLauncher = "/forkbox-vm-launch";
constexpr const char* kLiveLibrary = "/libforkbox_vm_live.so";

// Of the forkserver's configuration.
constexpr std::size_t kLauncherTemplate = 0;
constexpr std::size_t kLiveTemplate = 1;

constexpr seconds kConnectPatience{30};
constexpr seconds kForkPatience{10};
constexpr seconds kProofPatience{60};
constexpr seconds kLookAgain{1};  // at the template and the machines that wait
// After all ways have failed, twice each; the last one again and again.
constexpr std::array<minutes, 3> kPauses{minutes(1), minutes(2), minutes(5)};

// Beside the guest's memory: the code that is translated for it, and QEMU itself.
constexpr std::uint64_t kQemuBytes = 640ULL << 20;
// Of the guest's memory: its kernel, the agent, the warm templates of all languages.
constexpr std::uint64_t kGuestsOwnBytes = 512ULL << 20;
constexpr std::uint32_t kCellPids = 128;  // QEMU's threads, of which 64 can wait for disks
constexpr std::uint64_t kCellDiskBytes = 4ULL << 20;

// Compilers have limits of their own inside; this one holds where those do not.
constexpr seconds kCompileTime{120};

schema::Limits CellLimits(std::uint64_t ram_bytes) {
  schema::Limits cell;
  cell.memory_bytes = ram_bytes + kQemuBytes;
  cell.pids = kCellPids;
  cell.disk_bytes = kCellDiskBytes;
  return cell;
}

microseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
}

std::string NameOf(Accelerator accelerator, const MachineSource& source) {
  return std::string(ToString(accelerator)) + ", " + std::string(source.name());
}

bool HasEnded(const ReadyMachine& machine) {
  // One that died while it waited says so on its status socket.
  pollfd polled{machine.fork.status.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) != 0;
}

}  // namespace

Result<std::unique_ptr<VmDriver>> VmDriver::Start(VmDriverOptions options) {
  std::unique_ptr<VmDriver> driver(new VmDriver(std::move(options)));
  const VmDriverOptions& chosen = driver->options_;
  if (chosen.ram_bytes <= kGuestsOwnBytes || chosen.ram_bytes % (1U << 20) != 0) {
    return Fail(ErrorCode::kInvalidArgument, "the memory of a machine is whole MiB, more than " +
                                                 std::to_string(kGuestsOwnBytes >> 20));
  }
  if (auto qemu = QemuBuild(); !qemu) return Fail(qemu.error());
  for (const char* program : {kLauncher, kLiveLibrary}) {
    const std::string path = chosen.programs_dir + program;
    if (!std::filesystem::exists(path)) {
      return Fail(ErrorCode::kUnavailable, path + " is missing: build forkbox again");
    }
  }
  auto image = VmImage::Open(chosen.image_dir, chosen.runtime_hash);
  if (!image) return Fail(image.error());
  driver->image_ = std::move(*image);
  driver->kvm_ = chosen.allow_kvm && chosen.design != Design::kLive
                     ? ProbeKvm()
                     : KvmVerdict{false, "not asked for"};

  const bool kvm = driver->kvm_.usable;
  const bool live = !kvm && chosen.design != Design::kSnapshot;
  const bool snapshot = chosen.design != Design::kLive;
  const schema::Limits cell = CellLimits(chosen.ram_bytes);
  Machine machine;
  machine.ram_bytes = chosen.ram_bytes;
  machine.tsc_khz = MeasureTscKhz();

  ForkserverConfig config;
  config.root = RootKind::kMachines;
  config.kvm = kvm;
  // Beside those that run: the ones that wait, a template, and a few that wait for their burial.
  config.uid_count = static_cast<std::uint32_t>(chosen.max_machines + chosen.pool_size + 4);
  config.uid_base = DrawUidBase(config.uid_count);
  config.binds.push_back({chosen.image_dir, kImageFolder});
  config.binds.push_back({chosen.programs_dir, kProgramsTarget});
  TemplateSpec launcher;
  launcher.name = "launcher";
  launcher.command = {std::string(kProgramsTarget) + kLauncher};
  config.templates.push_back(std::move(launcher));
  if (live) config.templates.push_back(LiveTemplate(machine));

  auto client = ForkserverClient::Start(chosen.forkserver_path, std::move(config));
  if (!client) return Fail(client.error());
  driver->client_ = std::move(*client);
  const auto add_snapshot = [&](Accelerator accelerator) {
    machine.accelerator = accelerator;
    driver->ways_.push_back(
        {accelerator, std::make_unique<SnapshotSource>(*driver->client_, kLauncherTemplate, cell,
                                                       machine, chosen.log, chosen.image_dir)});
  };
  if (kvm && snapshot) add_snapshot(Accelerator::kKvm);
  if (live) {
    driver->ways_.push_back(
        {Accelerator::kTcg, std::make_unique<LiveSource>(*driver->client_, kLiveTemplate, cell)});
  }
  if (snapshot) add_snapshot(Accelerator::kTcg);

  VmStatus& status = driver->status_;
  status.accelerator = ToString(driver->ways_.front().accelerator);
  status.kvm = driver->kvm_.reason;
  status.image = driver->image_.hash;
  status.ram_bytes = chosen.ram_bytes;
  return driver;
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

// ---------------------------------------------------------------------------- the tending thread

void VmDriver::Tend() {
  if (auto connected = client_->Connect(steady_clock::now() + kConnectPatience); !connected) {
    options_.log.Error("vm.failed", {{"reason", connected.error().message}});
    return Become(VmState::kFailed, connected.error().message);
  }
  {
    const std::lock_guard lock(mutex_);
    protections_ = client_->protections();
  }
  // Up in an instant, and what every snapshot is made with.
  client_->WaitForTemplate(kLauncherTemplate, steady_clock::now() + kConnectPatience);
  std::size_t failures = 0;
  while (!IsClosing()) {
    if (auto booted = Boot(); !booted) {
      if (IsClosing()) return;
      options_.log.Error("vm.failed", {{"reason", booted.error().message}});
      Become(VmState::kFailed, booted.error().message);
      if (!client_->alive() || !Pause(kPauses[std::min(failures++, kPauses.size() - 1)])) return;
      continue;
    }
    failures = 0;
    const Way& way = *way_;  // nobody else changes it
    KeepPoolFull(way);
    if (IsClosing()) return;
    const std::string reason = WhyStale(way);
    options_.log.Warn("vm.rebuilding", {{"reason", reason}});
    std::deque<ReadyMachine> stale;
    {
      const std::lock_guard lock(mutex_);
      way_ = nullptr;
      stale.swap(pool_);
    }
    Become(VmState::kRebuilding, reason);
  }
}

Result<void> VmDriver::Boot() {
  std::string reasons;
  for (const Way& way : ways_) {
    const std::string name = NameOf(way.accelerator, *way.source);
    // A start that failed gets a second chance: on a busy host one may be too slow.
    for (int attempt = 1; attempt <= 2 && !IsClosing(); ++attempt) {
      const auto start = steady_clock::now();
      auto booted = BootAs(way);
      const auto boot_ms = std::chrono::duration_cast<milliseconds>(Since(start)).count();
      if (booted) {
        options_.log.Info("vm.ready", {{"accelerator", ToString(way.accelerator)},
                                       {"design", way.source->name()},
                                       {"boot_ms", boot_ms},
                                       {"kvm", kvm_.reason},
                                       {"image", image_.hash}});
        Become(VmState::kReady, reasons);
        return {};
      }
      const std::string& why = booted.error().message;
      options_.log.Warn("vm.template_failed", {{"accelerator", ToString(way.accelerator)},
                                               {"design", way.source->name()},
                                               {"attempt", attempt},
                                               {"boot_ms", boot_ms},
                                               {"reason", why}});
      if (attempt == 2) reasons += (reasons.empty() ? "" : "; ") + name + ": " + why;
    }
  }
  return Fail(ErrorCode::kUnavailable, reasons);
}

Result<void> VmDriver::BootAs(const Way& way) {
  auto prepared = way.source->Prepare(steady_clock::now() + options_.boot_time);
  if (!prepared) return prepared;
  {
    const std::lock_guard lock(mutex_);
    ++status_.templates_booted;
  }
  auto languages =
      Prove(*way.source, ToString(way.accelerator), steady_clock::now() + kProofPatience);
  if (!languages) return Fail(languages.error());
  const std::lock_guard lock(mutex_);
  languages_ = std::move(*languages);
  way_ = &way;
  status_.accelerator = ToString(way.accelerator);
  status_.design = way.source->name();
  return {};
}

void VmDriver::KeepPoolFull(const Way& way) {
  for (;;) {
    if (!WhyStale(way).empty()) return;
    {
      std::unique_lock lock(mutex_);
      if (closing_) return;
      std::erase_if(pool_, HasEnded);
      if (pool_.size() >= options_.pool_size) {
        changed_.wait_for(lock, kLookAgain);
        continue;
      }
    }
    const auto patience = steady_clock::now() + kForkPatience;
    auto machine = way.source->Fork(patience);
    if (machine) {
      if (auto loaded = machine->AwaitLoaded(patience); !loaded) machine = Fail(loaded.error());
    }
    if (!machine) {
      if (IsClosing() || !WhyStale(way).empty()) return;
      options_.log.Warn("pool.refill_failed", {{"reason", machine.error().message}});
      if (!Pause(kLookAgain)) return;
      continue;
    }
    const std::lock_guard lock(mutex_);
    pool_.push_back(std::move(*machine));
  }
}

std::string VmDriver::WhyStale(const Way& way) const {
  if (!client_->alive()) return "the forkserver of the virtual machines is gone";
  return way.source->WhyStale();
}

bool VmDriver::Pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return closing_; });
}

bool VmDriver::IsClosing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

void VmDriver::Become(VmState state, const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    status_.state = state;
    status_.reason = reason;
  }
  changed_.notify_all();
}

// ---------------------------------------------------------------------------- forks

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
  const Way* way = nullptr;
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
  auto machine = Take(*way);
  if (!machine) return Fail(machine.error());
  const bool compiled = found.execution_model != languages::ExecutionModel::kInterpreted;
  auto sandbox = std::make_unique<VmSandbox>(
      std::move(*machine), found.id, limits,
      way->accelerator == Accelerator::kTcg ? kEmulationFactor : 1, ToString(way->accelerator),
      Since(start), compiled ? milliseconds(kCompileTime) : milliseconds(0));
  if (!sandbox->CanBeCancelled()) {
    return Fail(ErrorCode::kUnavailable, "descriptors ran out (RLIMIT_NOFILE)");
  }
  return std::unique_ptr<Sandbox>(std::move(sandbox));
}

Result<ReadyMachine> VmDriver::Take(const Way& way) {
  if (const std::string stale = WhyStale(way); !stale.empty()) {
    changed_.notify_all();
    return Fail(ErrorCode::kUnavailable, "the virtual machines are being rebuilt: " + stale);
  }
  std::deque<ReadyMachine> ended;  // torn down outside of the lock
  {
    const std::lock_guard lock(mutex_);
    while (way_ == &way && !pool_.empty()) {
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
  changed_.notify_all();
  return way.source->Fork(steady_clock::now() + kForkPatience);
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
