#include "runner/sandbox/vm/snapshot_source.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "runner/sandbox/vm/launch/launch_qemu.h"
#include "runner/sandbox/vm/qmp.h"
#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {
namespace {

// Which file that is at the moment; "" when there is none.
std::string FileNow(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return "";
  return std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino) + " " +
         std::to_string(file.st_size) + " " + std::to_string(file.st_mtim.tv_sec) + "." +
         std::to_string(file.st_mtim.tv_nsec);
}

std::string ManifestIn(const std::string& image_folder) {
  return image_folder.empty() ? "" : FileNow(image_folder + "/" + kImageManifest);
}

// All that QEMU is to be told, ahead of its answers. It is loading when it reads the last line, and
// says by an event how that went.
std::string LoadCommands() {
  const auto on = [](const char* capability) {
    return nlohmann::json{{"capability", capability}, {"state", true}};
  };
  return QmpCommand("qmp_capabilities") +
         QmpCommand(
             "migrate-set-capabilities",
             {{"capabilities", nlohmann::json::array({on("x-ignore-shared"), on("events")})}}) +
         QmpCommand("migrate-incoming", {{"uri", "fd:" + std::to_string(kStateFd)}});
}

}  // namespace

SnapshotSource::SnapshotSource(ForkserverClient& client, std::size_t launcher_index,
                               const schema::Limits& cell, const Machine& machine, Log log,
                               std::string image_folder,
                               std::function<Result<std::string>()> qemu_build)
    : client_(client),
      launcher_index_(launcher_index),
      cell_(cell),
      machine_(machine),
      log_(std::move(log)),
      image_folder_(std::move(image_folder)),
      qemu_build_(std::move(qemu_build)) {}

Result<void> SnapshotSource::Prepare(Deadline deadline) {
  // Both before anything is read of them: a change while it boots makes it stale.
  auto build = qemu_build_();
  if (!build) return Fail(build.error());
  const auto made = std::make_shared<Template>();
  made->qemu_build = *build;
  made->key = MachineKey(machine_, *build);
  made->image_file = ManifestIn(image_folder_);
  const auto start = std::chrono::steady_clock::now();
  auto snapshot = TakeSnapshot(client_, launcher_index_, cell_, machine_, deadline);
  if (!snapshot) return Fail(snapshot.error());
  made->snapshot = std::move(*snapshot);
  log_.Info("vm.template_saved", {{"accelerator", ToString(machine_.accelerator)},
                                  {"boot_ms", std::chrono::duration_cast<std::chrono::milliseconds>(
                                                  std::chrono::steady_clock::now() - start)
                                                  .count()}});
  std::lock_guard lock(mutex_);
  template_ = made;
  return {};
}

Result<ReadyMachine> SnapshotSource::Fork(Deadline deadline) {
  std::shared_ptr<const Template> from;
  {
    std::lock_guard lock(mutex_);
    from = template_;
  }
  if (from == nullptr) return Fail(ErrorCode::kUnavailable, "no template has been booted");
  auto build = qemu_build_();
  if (!build) return Fail(build.error());
  if (MachineKey(machine_, *build) != from->key) {
    return Fail(ErrorCode::kUnavailable,
                "the template was saved by another machine or QEMU: boot a new template");
  }
  auto fork = client_.Fork(launcher_index_, cell_, deadline);
  if (!fork) return Fail(fork.error());
  ReadyMachine machine;
  machine.fork = std::move(*fork);
  // For reading alone, and with an offset of its own: a descriptor that is passed on shares both.
  const std::string state_path = "/proc/self/fd/" + std::to_string(from->snapshot.state.get());
  const UniqueFd state(::open(state_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!state) return FailErrno("open the template's state");
  auto monitor = LaunchQemu(machine.fork, ForkCommand(machine_, kLaunchedFds, kSnapshotSandbox),
                            from->snapshot.ram.get(), state.get());
  if (!monitor) return Fail(monitor.error());
  machine.monitor = std::move(*monitor);
  const std::string commands = LoadCommands();
  if (::send(machine.monitor.get(), commands.data(), commands.size(),
             MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(commands.size())) {
    return FailErrno("tell the machine what to load");
  }
  return machine;
}

std::string SnapshotSource::WhyStale() const {
  std::shared_ptr<const Template> from;
  {
    std::lock_guard lock(mutex_);
    from = template_;
  }
  if (from == nullptr) return "no template has been booted";
  auto build = qemu_build_();
  if (!build) return build.error().message;
  if (*build != from->qemu_build) return "QEMU has changed since the template was booted";
  if (ManifestIn(image_folder_) != from->image_file) {
    return "the image has changed since the template was booted";
  }
  return "";
}

}  // namespace forkbox::sandbox::vm
