// forkbox-vm-agent: the first and only process of a virtual machine's initrd. It makes the guest a
// place like any host, starts the process driver in it, warms everything up, says so to the host,
// and then serves exactly one job: whoever wants another one copies the machine before.
//
// Nobody is reaped here but the forkserver: all that it ever starts is in a pid namespace of its
// own, so no orphan comes to us.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "base/log.h"
#include "runner/sandbox/compiling_driver.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/guest/agent_port.h"
#include "runner/sandbox/vm/guest/awakening.h"
#include "runner/sandbox/vm/guest/guest_root.h"
#include "runner/sandbox/vm/guest/job_server.h"
#include "runner/sandbox/vm/guest/warm_up.h"

namespace forkbox::sandbox::vm {
namespace {

// Emulated, everything takes its time; the host has a limit for all of it.
constexpr std::chrono::minutes kOpenPatience{5};
// One program runs at a time, and while it warms up a few are being taken down.
constexpr std::size_t kMaxSandboxes = 32;
constexpr rlim_t kDescriptors = 4096;

Result<std::unique_ptr<CompilingDriver>> OpenDriver(const Log& log) {
  ProcessDriverOptions options;
  options.runtime_dir = kRuntimeFolder;
  options.forkserver_path = std::string(kRuntimeFolder) + "/forkbox-forkserver";
  options.pool_size = 1;
  options.max_sandboxes = kMaxSandboxes;
  options.runs_once = true;
  options.log = log;
  auto process = ProcessDriver::Start(std::move(options));
  if (!process) return Fail(process.error());
  // What was compiled once is not asked for again.
  auto driver = std::make_unique<CompilingDriver>(
      std::move(*process), CompilingDriverOptions{.cache_bytes = 0, .log = log});
  auto opened = driver->Open(std::chrono::steady_clock::now() + kOpenPatience);
  if (!opened) return Fail(opened.error());
  return driver;
}

Result<void> ServeOne(AgentPort& port, const Log& log) {
  if (auto entered = EnterGuestRoot(); !entered) return entered;
  auto driver = OpenDriver(log);
  if (!driver) return Fail(driver.error());
  for (const std::string& missing : (*driver)->MissingProtections()) {
    log.Warn("protection.missing", {{"what", missing}});
  }
  JobServer server(**driver, Awake, DrawFromProcessor);
  if (auto warmed = WarmUp(**driver, server, log); !warmed) return warmed;
  if (!port.Write(EncodeReady())) return Fail(ErrorCode::kUnavailable, "the host is gone");

  auto frame = port.Read();
  if (!frame) return Fail(frame.error());
  server.Serve(*frame, [&](std::string_view answer) { (void)port.Write(answer); });
  for (;;) ::pause();  // the host ends the machine; there is nothing to be tidied up for
}

int Main() {
  std::signal(SIGPIPE, SIG_IGN);
  const rlimit files{kDescriptors, kDescriptors};
  ::setrlimit(RLIMIT_NOFILE, &files);
  const Log log(STDERR_FILENO, LogLevel::kInfo);  // the machine's console
  const auto failed = [&](const Error& error) {
    log.Error("agent.failed", {{"reason", error.message}});
    return 1;  // the kernel panics at that, and reboots, which QEMU is told to take for the end
  };
  if (auto started = StartDevices(); !started) return failed(started.error());
  auto port = AgentPort::Open();
  if (!port) return failed(port.error());
  auto served = ServeOne(*port, log);
  if (served) return 0;
  (void)port->Write(EncodeFailed(served.error().message));
  return failed(served.error());
}

}  // namespace
}  // namespace forkbox::sandbox::vm

int main() { return forkbox::sandbox::vm::Main(); }
