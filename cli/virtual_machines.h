// The virtual machines of this process: their driver, or why there is none.
//
//   auto machines = VirtualMachines::Start(options);   // as root, before any thread
//   DropPrivileges(…);
//   if (*machines) (*machines)->Open();                // a template boots in the background
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/runner_details.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/driver_set.h"

namespace forkbox::sandbox::vm {
class VmDriver;
}

namespace forkbox::cli {

// Descriptors of a machine at the most: its channel, status, monitor and what waits for them.
inline constexpr std::size_t kFilesOfMachine = 12;

// For a template to boot, where nothing else can be done meanwhile: the deadline of each design,
// its one retry, and some.
inline constexpr std::chrono::seconds kBootPatience{900};

struct VirtualMachinesOptions {
  enum class Wanted { kOff, kAuto, kOn };
  Wanted wanted = Wanted::kAuto;  // kAuto: where there is an image
  std::string image_dir = {};     // "": that of the installation
  std::uint64_t ram_bytes = 2ULL << 30;
  std::size_t pool_size = 2;
  std::size_t max_machines = 64;  // or as many as half of the host's memory holds
  Log log = Log::Null();
};

// Thread-safe once it was opened.
class VirtualMachines {
 public:
  // Whether there are to be any here: off is off, and kAuto without an image is, too. Quick: the
  // image is not read.
  static bool AreToBe(const VirtualMachinesOptions& options);

  // Null where there are to be none. An Error only for kOn, with the command that mends it; for
  // kAuto that becomes a log line and Service().status.reason.
  static Result<std::unique_ptr<VirtualMachines>> Start(VirtualMachinesOptions options);
  ~VirtualMachines();

  void Open();
  // Until the template is there; an Error says why it will not be.
  Result<void> WaitUntilReady(Deadline deadline);

  [[nodiscard]] sandbox::Driver* driver();  // null: Service() says why
  // For DriverSet.
  [[nodiscard]] sandbox::Readiness ReadinessOf(const std::string& language) const;
  [[nodiscard]] runner::VmService Service() const;
  [[nodiscard]] std::vector<std::string> MissingProtections() const;
  // False once the privileged part has ended: there will be none any more.
  [[nodiscard]] bool Alive() const;

 private:
  explicit VirtualMachines(std::unique_ptr<sandbox::vm::VmDriver> driver, std::string why_not);

  const std::unique_ptr<sandbox::vm::VmDriver> driver_;
  const std::string why_not_;  // there are none, or not as many as were wanted
};

}  // namespace forkbox::cli
