#include "cli/virtual_machines.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/installation.h"
#include "runner/sandbox/vm/vm_driver.h"
#include "schema/utf8.h"

namespace forkbox::cli {

using sandbox::vm::VmDriver;
using sandbox::vm::VmState;
using sandbox::vm::VmStatus;

namespace {

using Wanted = VirtualMachinesOptions::Wanted;

// As many as were wanted, if this host can have that many.
std::size_t BoundedByMemory(const VirtualMachinesOptions& options) {
  const auto host = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                    static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min(options.max_machines, sandbox::vm::MachinesThatFit(options.ram_bytes, host));
}

// For health: fewer than were wanted.
std::string WhyFewer(const VirtualMachinesOptions& options) {
  const std::size_t most = BoundedByMemory(options);
  if (most == options.max_machines) return "";
  options.log.Warn("vm.fewer_machines",
                   {{"wanted", static_cast<std::int64_t>(options.max_machines)},
                    {"at_most", static_cast<std::int64_t>(most)}});
  return "at most " + std::to_string(most) + " at once instead of " +
         std::to_string(options.max_machines) +
         ", since that many can take half of this host's memory";
}

Result<std::unique_ptr<VmDriver>> StartDriver(const Installation& installation,
                                              const VirtualMachinesOptions& options) {
  auto runtime_hash = installation.VmRuntimeHash();
  if (!runtime_hash) return Fail(runtime_hash.error());
  ::signal(SIGPIPE, SIG_IGN);
  sandbox::vm::VmDriverOptions driver;
  driver.forkserver_path = installation.forkserver;
  driver.programs_dir = installation.vm_programs_dir;
  driver.image_dir = options.image_dir;
  driver.runtime_hash = *runtime_hash;
  driver.pool_size = options.pool_size;
  driver.max_machines = BoundedByMemory(options);
  driver.ram_bytes = options.ram_bytes;
  driver.log = options.log;
  return VmDriver::Start(std::move(driver));
}

// The log has all of it, the console of a machine that did not boot included; health has a line.
std::string Brief(std::string reason) {
  constexpr std::size_t kMost = 400;
  const auto end =
      std::ranges::find_if(reason, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  const auto line = static_cast<std::size_t>(end - reason.begin());
  if (line == reason.size() && line <= kMost) return reason;
  reason.resize(std::min(line, kMost));
  reason.resize(reason.size() - schema::IncompleteUtf8Suffix(reason));
  return reason + " …";
}

}  // namespace

VirtualMachines::VirtualMachines(std::unique_ptr<VmDriver> driver, std::string why_not)
    : driver_(std::move(driver)), why_not_(std::move(why_not)) {}

VirtualMachines::~VirtualMachines() = default;

bool VirtualMachines::AreToBe(const VirtualMachinesOptions& options) {
  if (options.wanted != Wanted::kAuto) return options.wanted == Wanted::kOn;
  // Nobody has made an image, or said where it is: there are to be none.
  const auto installation = Installation::Find();
  if (!installation || !options.image_dir.empty()) return true;
  std::error_code error;
  const std::filesystem::path folder = installation->vm_image_dir;
  return std::filesystem::exists(folder / sandbox::vm::kCurrentImage, error) ||
         std::filesystem::exists(folder / sandbox::vm::kImageManifest, error);
}

Result<std::unique_ptr<VirtualMachines>> VirtualMachines::Start(VirtualMachinesOptions options) {
  if (!AreToBe(options)) return nullptr;
  const auto installation = Installation::Find();
  if (!installation) return Fail(installation.error());
  if (options.image_dir.empty()) options.image_dir = installation->vm_image_dir;
  auto driver = StartDriver(*installation, options);
  if (driver) {
    return std::unique_ptr<VirtualMachines>(
        new VirtualMachines(std::move(*driver), WhyFewer(options)));
  }
  if (options.wanted == Wanted::kOn) return Fail(driver.error());
  options.log.Warn("vm.unavailable", {{"error", driver.error().message}});
  return std::unique_ptr<VirtualMachines>(new VirtualMachines(nullptr, driver.error().message));
}

void VirtualMachines::Open() {
  if (driver_ != nullptr) driver_->Open();
}

Result<void> VirtualMachines::WaitUntilReady(Deadline deadline) {
  if (driver_ == nullptr) return Fail(ErrorCode::kUnavailable, why_not_);
  return driver_->WaitUntilReady(deadline);
}

sandbox::Driver* VirtualMachines::driver() { return driver_.get(); }

bool VirtualMachines::IsComing(const std::string& language) const {
  if (driver_ == nullptr || !driver_->Alive()) return false;
  switch (driver_->Status().state) {
    case VmState::kStarting:
    case VmState::kRebuilding:
      return true;
    case VmState::kReady: {
      // All machines are taken, or the template has died a moment ago; unless it never had it.
      const auto languages = driver_->Languages();
      return std::ranges::any_of(languages, [&](const sandbox::LanguageStatus& one) {
        return one.id == language && one.ready;
      });
    }
    case VmState::kFailed:
      break;
  }
  return false;
}

runner::VmService VirtualMachines::Service() const {
  runner::VmService service;
  if (driver_ == nullptr) {
    service.status.state = VmState::kFailed;
    service.status.reason = why_not_;
    return service;
  }
  service.status = driver_->Status();
  service.status.reason = Brief(std::move(service.status.reason));
  if (service.status.state == VmState::kReady && !why_not_.empty()) {
    service.status.reason += (service.status.reason.empty() ? "" : "; ") + why_not_;
  }
  if (!driver_->Alive()) {
    service.status.state = VmState::kFailed;
    service.status.reason = "their privileged process ended: start the server again";
  }
  service.languages = driver_->Languages();
  service.most_memory_bytes = driver_->MostMemory();
  service.machines_ready = driver_->Stats().pool_ready;
  return service;
}

std::vector<std::string> VirtualMachines::MissingProtections() const {
  return driver_ == nullptr ? std::vector<std::string>() : driver_->MissingProtections();
}

bool VirtualMachines::Alive() const { return driver_ == nullptr || driver_->Alive(); }

}  // namespace forkbox::cli
