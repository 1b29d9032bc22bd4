// VmDriver: every run in a virtual machine of its own, forked from a warmed template.
//
//   auto driver = VmDriver::Start(options);   // while still root, before any thread
//   DropPrivileges();
//   driver->Open();                           // boots in the background; Status() says how it goes
//
// Same contract as every Driver (driver.h). Inside the machine programs run in the very sandboxes
// of ProcessDriver; QEMU runs in a cell of a forkserver of its own, whose root holds nothing but
// QEMU and the image. Time limits are watched from outside. Under emulation processor time is worth
// less, so that limit is multiplied by kEmulationFactor; usage.cpu is what the machine took of the
// host.
//
// Thread-safe after Start(). The process must ignore SIGPIPE.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/vm/kvm_probe.h"
#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/machine_source.h"
#include "runner/sandbox/vm/vm_image.h"
#include "runner/sandbox/vm/vm_status.h"

namespace forkbox::sandbox::vm {

// How many times longer the same Python loop takes under QEMU 7.2's translator than on the bare
// processor: 17 to 23 measured (docs/performance.md).
inline constexpr int kEmulationFactor = 20;

enum class Design { kAuto, kLive, kSnapshot };

struct VmDriverOptions {
  std::string forkserver_path;  // the forkbox-forkserver executable
  std::string programs_dir;     // bound as /opt/forkbox-vm: the launcher, libforkbox_vm_live.so
  std::string image_dir;        // bound as kImageFolder
  std::string runtime_hash;     // see VmImage::Open()
  std::size_t pool_size = 2;    // machines kept ready
  std::size_t max_machines = 64;
  std::uint64_t ram_bytes = 2ULL << 30;
  std::chrono::seconds boot_time{180};  // of a template, warm-up included; then once more
  bool allow_kvm = true;                // where the probe finds it usable
  Design design = Design::kAuto;        // kAuto: live under emulation where it proves itself
  Log log = Log::Null();
};

class VmDriver final : public Driver {
 public:
  // kUnavailable when there is no image, QEMU or privilege for it, with what mends that. Without
  // root the cells are those of a user namespace, and MissingProtections() says what that costs.
  static Result<std::unique_ptr<VmDriver>> Start(VmDriverOptions options);
  ~VmDriver() override;

  // Starts to boot the template and returns. Until it is ready Fork() is kUnavailable.
  void Open();
  // Waits until the state is neither kStarting nor kRebuilding: an Error if it is not kReady then.
  Result<void> WaitUntilReady(Deadline deadline);

  // Also kInvalidArgument for more memory than a machine has to give: MostMemory().
  Result<std::unique_ptr<Sandbox>> Fork(const std::string& language,
                                        const schema::Limits& limits) override;
  Result<std::unique_ptr<Sandbox>> ForkFor(const std::string& language,
                                           const schema::Limits& limits, std::string_view code,
                                           schema::EntryKind entry) override;
  using Driver::ForkFor;
  // What the image has, as its agent found it; none of them ready while there is no template.
  [[nodiscard]] std::vector<LanguageStatus> Languages() const override;
  [[nodiscard]] DriverStats Stats() const override;
  [[nodiscard]] std::vector<std::string> MissingProtections() const override;

  [[nodiscard]] VmStatus Status() const;
  // The largest Limits::memory_bytes that a run may ask for.
  [[nodiscard]] std::uint64_t MostMemory() const;
  // False once the privileged process has ended.
  [[nodiscard]] bool Alive() const { return client_->alive(); }
  // For tests.
  [[nodiscard]] pid_t forkserver_pid() const { return client_->pid(); }

 private:
  // A way to have machines; the best comes first.
  struct Way {
    Accelerator accelerator = Accelerator::kTcg;
    std::unique_ptr<MachineSource> source;
  };

  explicit VmDriver(VmDriverOptions options) : options_(std::move(options)) {}
  void Tend();  // the thread: boots, proves, keeps the pool full, boots again
  Result<void> Boot();
  Result<void> BootAs(const Way& way);
  void KeepPoolFull(const Way& way);  // until there is something wrong with its template
  [[nodiscard]] std::string WhyStale(const Way& way) const;
  bool Pause(std::chrono::milliseconds time);  // false when it is to end
  [[nodiscard]] bool IsClosing() const;
  void Become(VmState state, const std::string& reason);
  [[nodiscard]] std::string WhyNotReady() const;  // with mutex_ held
  Result<ReadyMachine> Take(const Way& way);

  VmDriverOptions options_;
  VmImage image_;
  KvmVerdict kvm_;
  std::unique_ptr<ForkserverClient> client_;
  std::vector<Way> ways_;

  mutable std::mutex mutex_;  // guards all below
  mutable std::condition_variable changed_;
  const Way* way_ = nullptr;  // of ways_: the one that is served
  std::deque<ReadyMachine> pool_;
  std::vector<LanguageStatus> languages_;
  VmStatus status_;
  DriverStats stats_;
  std::uint32_t protections_ = ~0U;  // in force; all, as long as it is not known
  bool closing_ = false;
  std::thread tender_;
};

}  // namespace forkbox::sandbox::vm
