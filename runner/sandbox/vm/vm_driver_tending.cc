// VmDriver's thread: templates.
#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "runner/sandbox/vm/live_source.h"
#include "runner/sandbox/vm/proof.h"
#include "runner/sandbox/vm/snapshot_source.h"
#include "runner/sandbox/vm/vm_driver.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kConnectPatience{30};
constexpr seconds kForkPatience{10};
constexpr seconds kProofPatience{60};
constexpr seconds kLookAgain{1};  // at the template, the machines that wait and the disk
// After all ways have failed, twice each; the last one again and again.
constexpr std::array<minutes, 3> kPauses{minutes(1), minutes(2), minutes(5)};

void Append(std::string* reasons, const std::string& reason) {
  if (reason.empty()) return;
  if (!reasons->empty()) *reasons += "; ";
  *reasons += reason;
}

}  // namespace

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
    if (auto newer = NewImage()) image_ = std::move(*newer);
    if (auto booted = Boot(image_, WaysOf(image_)); booted) {
      failures = 0;
      Serve(image_, std::move(*booted));
    } else {
      if (IsClosing()) return;
      options_.log.Error("vm.failed", {{"reason", booted.error().message}});
      Become(VmState::kFailed, booted.error().message);
      if (!client_->alive() || !Pause(kPauses[std::min(failures++, kPauses.size() - 1)])) return;
      continue;
    }
    KeepPoolFull();
    if (IsClosing()) return;
    std::deque<ReadyMachine> stale;
    std::shared_ptr<const Way> way;
    {
      const std::lock_guard lock(mutex_);
      way.swap(way_);
      stale.swap(pool_);
    }
    const std::string reason = WhyStale(*way);
    options_.log.Warn("vm.rebuilding", {{"reason", reason}});
    Become(VmState::kRebuilding, reason);
    // Machines of a live one are lost with it: it died, or is of no use.
    way->End();
  }
}

std::size_t VmDriver::FreeLiveSlot() const {
  const auto slot = std::ranges::find_if(live_slots_, [](const auto& user) {
    const auto way = user.lock();
    return way == nullptr || way->ended;
  });
  return static_cast<std::size_t>(slot - live_slots_.begin());
}

std::vector<std::shared_ptr<const VmDriver::Way>> VmDriver::WaysOf(const VmImage& image) {
  Machine machine = machine_;
  machine.image = std::string(kImageFolder) + "/" + image.name;
  std::vector<std::shared_ptr<const Way>> ways;
  const auto add_snapshot = [&](Accelerator accelerator) {
    machine.accelerator = accelerator;
    // Of the QEMU that is bound, whatever is installed meanwhile.
    auto source = std::make_unique<SnapshotSource>(
        *client_, kLauncherTemplate, cell_, machine, options_.log, image.folder,
        [build = qemu_build_]() -> Result<std::string> { return build; });
    ways.push_back(std::make_shared<const Way>(accelerator, std::move(source)));
  };
  if (kvm_.usable && snapshot_) add_snapshot(Accelerator::kKvm);
  if (live_) {
    const std::size_t slot = FreeLiveSlot();
    if (slot == live_slots_.size()) return {};
    auto source =
        std::make_unique<LiveSource>(*client_, kFirstLiveTemplate + slot, cell_, image.name);
    ways.push_back(std::make_shared<const Way>(Accelerator::kTcg, std::move(source)));
    live_slots_[slot] = ways.back();
  }
  if (snapshot_) add_snapshot(Accelerator::kTcg);
  return ways;
}

Result<VmDriver::Proven> VmDriver::Boot(const VmImage& image,
                                        const std::vector<std::shared_ptr<const Way>>& ways) {
  std::string reasons = left_out_;
  for (const auto& way : ways) {
    const std::string design(way->source->name());
    // A start that failed gets a second chance: on a busy host one may be too slow.
    for (int attempt = 1; attempt <= 2 && !IsClosing(); ++attempt) {
      const auto start = steady_clock::now();
      auto booted = BootAs(way);
      const auto boot_ms =
          std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
      if (booted) {
        options_.log.Info("vm.ready", {{"accelerator", ToString(way->accelerator)},
                                       {"design", design},
                                       {"boot_ms", boot_ms},
                                       {"kvm", kvm_.reason},
                                       {"image", image.hash}});
        booted->reasons = std::move(reasons);
        return booted;
      }
      way->source->Stop();
      const std::string& why = booted.error().message;
      options_.log.Warn("vm.template_failed", {{"accelerator", ToString(way->accelerator)},
                                               {"design", design},
                                               {"attempt", attempt},
                                               {"boot_ms", boot_ms},
                                               {"reason", why}});
      if (attempt == 2) {
        Append(&reasons, std::string(ToString(way->accelerator)) + ", " + design + ": " + why);
      }
    }
  }
  return Fail(ErrorCode::kUnavailable, reasons);
}

Result<VmDriver::Proven> VmDriver::BootAs(const std::shared_ptr<const Way>& way) {
  auto prepared = way->source->Prepare(steady_clock::now() + options_.boot_time);
  if (!prepared) return Fail(prepared.error());
  {
    const std::lock_guard lock(mutex_);
    ++status_.templates_booted;
  }
  auto languages =
      Prove(*way->source, ToString(way->accelerator), steady_clock::now() + kProofPatience);
  if (!languages) return Fail(languages.error());
  return Proven{way, std::move(*languages), {}};
}

void VmDriver::Serve(const VmImage& image, Proven proven) {
  std::deque<ReadyMachine> former;  // let go of outside of the lock
  {
    const std::lock_guard lock(mutex_);
    status_.accelerator = ToString(proven.way->accelerator);
    status_.design = proven.way->source->name();
    status_.image = image.hash;
    status_.state = VmState::kReady;
    languages_ = std::move(proven.languages);
    about_ways_ = std::move(proven.reasons);
    way_.swap(proven.way);
    former.swap(pool_);
    SayReasons();
  }
  changed_.notify_all();
}

void VmDriver::KeepPoolFull() {
  for (;;) {
    LookAtQemu();
    TakeNewImage();
    std::shared_ptr<const Way> way;
    std::vector<ReadyMachine> ended;  // torn down outside of the lock
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      way = way_;
    }
    if (!WhyStale(*way).empty()) return;
    {
      std::unique_lock lock(mutex_);
      const auto dead = std::stable_partition(
          pool_.begin(), pool_.end(), [](const ReadyMachine& one) { return !HasEnded(one); });
      ended.assign(std::make_move_iterator(dead), std::make_move_iterator(pool_.end()));
      pool_.erase(dead, pool_.end());
      if (pool_.size() >= pool_size_) {
        if (!closing_) changed_.wait_for(lock, kLookAgain);
        continue;
      }
    }
    ended.clear();
    if (!FillPool(way) && !Pause(kLookAgain)) return;
  }
}

bool VmDriver::FillPool(const std::shared_ptr<const Way>& way) {
  if (*machines_ >= options_.max_machines) return false;
  const auto patience = steady_clock::now() + kForkPatience;
  auto machine = ForkOf(way, patience);
  if (machine) {
    if (auto loaded = machine->AwaitLoaded(patience); !loaded) {
      CountFailure(*way, loaded.error().message);
      machine = Fail(loaded.error());
    }
  }
  if (!machine) {
    if (IsClosing() || !WhyStale(*way).empty()) return true;
    options_.log.Warn("pool.refill_failed", {{"reason", machine.error().message}});
    return false;
  }
  way->failures = 0;
  const std::lock_guard lock(mutex_);
  if (pool_.size() < pool_size_) pool_.push_back(std::move(*machine));
  return true;
}

// ---------------------------------------------------------------------------- what is on the disk

std::optional<VmImage> VmDriver::NewImage() {
  const std::string name = VmImage::Current(options_.image_dir);
  std::string about;
  std::optional<VmImage> newer;
  if (name == image_.name || name.empty()) {
    refused_.clear();
  } else if (name == refused_) {
    return std::nullopt;
  } else if (auto image = VmImage::Open(options_.image_dir, options_.runtime_hash); image) {
    newer = std::move(*image);
  } else {
    refused_ = name;
    about = "the new image is not taken: " + image.error().message;
    options_.log.Warn("vm.image_refused", {{"image", name}, {"reason", image.error().message}});
  }
  const std::lock_guard lock(mutex_);
  about_image_ = std::move(about);
  SayReasons();
  return newer;
}

void VmDriver::TakeNewImage() {
  // Machines of one before the last may still run.
  if (live_ && FreeLiveSlot() == live_slots_.size()) return;
  auto newer = NewImage();
  if (!newer) return;
  const auto ways = WaysOf(*newer);
  options_.log.Info("vm.image_changed", {{"image", newer->hash}});
  auto booted = Boot(*newer, ways);
  if (IsClosing()) return;
  if (booted) {
    image_ = std::move(*newer);
    return Serve(image_, std::move(*booted));
  }
  options_.log.Error("vm.image_refused",
                     {{"image", newer->name}, {"reason", booted.error().message}});
  refused_ = newer->name;
  const std::lock_guard lock(mutex_);
  about_image_ = "the new image is not taken: " + booted.error().message;
  SayReasons();
}

void VmDriver::LookAtQemu() {
  const auto installed = QemuBuild();
  std::string about;
  if (!installed || *installed != qemu_build_) {
    about = "QEMU has changed: restart to use it";
  }
  const std::lock_guard lock(mutex_);
  if (about == about_qemu_) return;
  if (!about.empty()) options_.log.Warn("vm.qemu_changed", {{"reason", about}});
  about_qemu_ = std::move(about);
  SayReasons();
}

void VmDriver::SayReasons() {
  if (status_.state != VmState::kReady) return;
  std::string reasons = about_image_;
  Append(&reasons, about_qemu_);
  Append(&reasons, about_ways_);
  status_.reason = std::move(reasons);
}

// ---------------------------------------------------------------------------- the thread's own

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

}  // namespace forkbox::sandbox::vm
