#include "cli/virtual_machines.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/installation.h"
#include "runner/sandbox/vm/guest_files.h"
#include "runner/sandbox/vm/vm_driver.h"
#include "schema/utf8.h"

namespace forkbox::cli {

using sandbox::Readiness;
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

// Before the first template has told: those that an image of this build has, since no other is
// taken. None of them is ready.
std::vector<sandbox::LanguageStatus> LanguagesOf(const VmDriver& driver) {
  auto languages = driver.Languages();
  if (!languages.empty()) return languages;
  for (const std::string& id : sandbox::vm::GuestLanguages()) {
    sandbox::LanguageStatus language;
    language.id = id;
    language.reason = "the virtual machines are starting";
    languages.push_back(std::move(language));
  }
  return languages;
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

Readiness VirtualMachines::ReadinessOf(const std::string& language) const {
  if (driver_ == nullptr || !driver_->Alive()) return Readiness::kNever;
  const VmState state = driver_->Status().state;
  if (state == VmState::kFailed) return Readiness::kNever;
  const auto languages = LanguagesOf(*driver_);
  const auto found = std::ranges::find(languages, language, &sandbox::LanguageStatus::id);
  if (found == languages.end()) return Readiness::kNever;
  // The one may be of before and the other of after a change.
  if (state != VmState::kReady || driver_->Status().state != state) return Readiness::kComing;
  return found->ready ? Readiness::kReady : Readiness::kNever;
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
  service.languages = LanguagesOf(*driver_);
  service.most_memory_bytes = driver_->MostMemory();
  service.machines_ready = driver_->Stats().pool_ready;
  return service;
}

std::vector<std::string> VirtualMachines::MissingProtections() const {
  return driver_ == nullptr ? std::vector<std::string>() : driver_->MissingProtections();
}

bool VirtualMachines::Alive() const { return driver_ == nullptr || driver_->Alive(); }

}  // namespace forkbox::cli
