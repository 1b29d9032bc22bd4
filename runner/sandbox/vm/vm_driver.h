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
// When another image becomes current, its template boots beside the old one and then takes its
// place. One that is not for this build of forkbox is not taken, and status.reason says so; nor is
// another QEMU, since the one that the forkserver has bound stays.
//
// Thread-safe after Start(). The process must ignore SIGPIPE.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
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

// Forks that fail in a row, before the template is given up.
inline constexpr std::size_t kMostFailures = 10;

// Of the forkserver's configuration.
inline constexpr std::size_t kLauncherTemplate = 0;
inline constexpr std::size_t kFirstLiveTemplate = 1;

// Whether it died while it waited.
bool HasEnded(const ReadyMachine& machine);

enum class Design { kAuto, kLive, kSnapshot };

struct VmDriverOptions {
  std::string forkserver_path;  // the forkbox-forkserver executable
  std::string programs_dir;     // bound as /opt/forkbox-vm: the launcher, libforkbox_vm_live.so
  std::string image_dir;        // bound as kImageFolder; see vm_image.h
  std::string runtime_hash;     // see VmImage::Open()
  std::size_t pool_size = 2;    // machines kept ready
  std::size_t max_machines = 64;
  std::uint64_t ram_bytes = 2ULL << 30;
  std::chrono::seconds boot_time{180};  // of a template, warm-up included; then once more
  bool allow_kvm = true;                // where the probe finds it usable
  Design design = Design::kAuto;        // kAuto: live under emulation where it proves itself
  Log log = Log::Null();
};

// How many machines a host with that much memory can have at once, when each may take all of what
// it is allowed: half of the host's at the most. At least 2.
std::size_t MachinesThatFit(std::uint64_t ram_bytes, std::uint64_t host_bytes);

class VmDriver final : public Driver {
 public:
  // kUnavailable when there is no image, QEMU or privilege (root) for it, with what mends that.
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
  // Keeps that many machines ready from now on, options.pool_size at the most. For measurements: a
  // template is dear, and one serves both with a pool and without.
  void KeepReady(std::size_t machines);
  // For tests.
  [[nodiscard]] pid_t forkserver_pid() const { return client_->pid(); }

 private:
  // A way to have machines. Ends its template when nobody has anything of it any more.
  struct Way {
    Way(Accelerator with, std::unique_ptr<MachineSource> from)
        : accelerator(with), source(std::move(from)) {}
    ~Way() { End(); }
    void End() const;  // at once, with the machines that are forked of it alive

    const Accelerator accelerator;
    const std::unique_ptr<MachineSource> source;
    mutable std::atomic<std::size_t> failures{0};  // forks that failed, in a row
    mutable std::atomic<bool> ended{false};
  };
  // What a machine holds of its template, and of the number that there may be.
  struct Lease {
    Lease(std::shared_ptr<const Way> of, std::shared_ptr<std::atomic<std::size_t>> counted)
        : way(std::move(of)), machines(std::move(counted)) {}
    ~Lease() { --*machines; }
    // Null when there are `most`.
    static std::shared_ptr<const void> Take(std::shared_ptr<const Way> way,
                                            std::shared_ptr<std::atomic<std::size_t>> machines,
                                            std::size_t most);

    const std::shared_ptr<const Way> way;
    const std::shared_ptr<std::atomic<std::size_t>> machines;
  };
  // A template that has proved itself.
  struct Proven {
    std::shared_ptr<const Way> way;
    std::vector<LanguageStatus> languages;
    std::string reasons;  // why it is not a better way
  };

  explicit VmDriver(VmDriverOptions options)
      : options_(std::move(options)), pool_size_(options_.pool_size) {}
  // The thread: boots, proves, keeps the pool full, boots again (vm_driver_tending.cc).
  void Tend();
  // Of live templates; live_slots_.size() when both are taken.
  [[nodiscard]] std::size_t FreeLiveSlot() const;
  // The best comes first.
  std::vector<std::shared_ptr<const Way>> WaysOf(const VmImage& image);
  Result<Proven> Boot(const VmImage& image, const std::vector<std::shared_ptr<const Way>>& ways);
  Result<Proven> BootAs(const std::shared_ptr<const Way>& way);
  void Serve(const VmImage& image, Proven proven);
  void KeepPoolFull();  // until there is something wrong with its template
  // Whether it is to go on at once.
  bool FillPool(const std::shared_ptr<const Way>& way);
  // The one that has become current, if it is to be taken.
  std::optional<VmImage> NewImage();
  void TakeNewImage();  // while the old one is served
  void LookAtQemu();
  void SayReasons();                           // with mutex_ held
  bool Pause(std::chrono::milliseconds time);  // false when it is to end
  [[nodiscard]] bool IsClosing() const;
  void Become(VmState state, const std::string& reason);

  [[nodiscard]] std::string WhyStale(const Way& way) const;
  [[nodiscard]] std::string WhyNotReady() const;  // with mutex_ held
  Result<ReadyMachine> Take(const std::shared_ptr<const Way>& way);
  Result<ReadyMachine> ForkOf(const std::shared_ptr<const Way>& way, Deadline deadline);
  void CountFailure(const Way& way, const std::string& why);

  VmDriverOptions options_;
  KvmVerdict kvm_;
  std::string qemu_build_;  // of the QEMU that the forkserver has bound
  bool live_ = false;
  bool snapshot_ = false;
  schema::Limits cell_;
  Machine machine_;
  std::unique_ptr<ForkserverClient> client_;
  std::shared_ptr<std::atomic<std::size_t>> machines_ =
      std::make_shared<std::atomic<std::size_t>>(0);
  // The tending thread's own, after Start().
  VmImage image_;        // that is served, or to be
  std::string refused_;  // the name of the one that was current and not to be taken
  std::array<std::weak_ptr<const Way>, 2> live_slots_;
  std::string left_out_;  // which way there is not, and why; "" where there are all

  mutable std::mutex mutex_;  // guards all below
  mutable std::condition_variable changed_;
  std::shared_ptr<const Way> way_;  // the one that is served
  std::string last_failure_;        // of a fork
  std::string about_image_;         // what there is to say of a newer one; "" for nothing
  std::string about_qemu_;
  std::string about_ways_;  // why not a better one
  std::deque<ReadyMachine> pool_;
  std::size_t pool_size_ = 0;
  std::vector<LanguageStatus> languages_;
  VmStatus status_;
  DriverStats stats_;
  std::uint32_t protections_ = ~0U;  // in force; all, as long as it is not known
  bool closing_ = false;
  std::thread tender_;
};

}  // namespace forkbox::sandbox::vm
