#include "tests/sandbox/vm_host.h"

#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "runner/sandbox/uid_range.h"
#include "runner/sandbox/vm/vm_image.h"
#include "tests/sandbox/leftovers_probe.h"

namespace forkbox::sandbox::testing {

using std::chrono::steady_clock;

std::string TestImage() {
  const char* named = std::getenv("FORKBOX_TEST_VM_IMAGE");
  const std::string folder = named != nullptr ? named : FORKBOX_VM_IMAGE;
  const std::string current = vm::VmImage::Current(folder);
  return current.empty() ? folder : folder + "/" + current;
}

Result<std::unique_ptr<ForkserverClient>> StartMachineForkserver(const std::string& image_folder,
                                                                 std::vector<BindSpec> binds,
                                                                 std::vector<TemplateSpec> more) {
  ::signal(SIGPIPE, SIG_IGN);
  ForkserverConfig config;
  config.root = RootKind::kMachines;
  config.uid_count = 32;
  config.uid_base = DrawUidBase(config.uid_count);
  TemplateSpec launcher;
  launcher.name = "machine";
  launcher.command = {"/opt/forkbox-vm/forkbox-vm-launch"};
  config.templates = {launcher};
  for (TemplateSpec& spec : more) config.templates.push_back(std::move(spec));
  config.binds = {{image_folder, vm::kImageFolder}, {FORKBOX_VM_PROGRAMS, "/opt/forkbox-vm"}};
  for (BindSpec& bind : binds) config.binds.push_back(std::move(bind));
  auto client = ForkserverClient::Start(FORKBOX_FORKSERVER, config);
  if (!client) return client;
  const Deadline deadline = steady_clock::now() + std::chrono::seconds(60);
  if (auto connected = (*client)->Connect(deadline); !connected) return Fail(connected.error());
  if (!(*client)->WaitForTemplate(0, deadline) || !(*client)->StateOf(0).ready) {
    return Fail(ErrorCode::kUnavailable, "launcher: " + (*client)->StateOf(0).reason);
  }
  return client;
}

schema::Limits CellLimits() {
  schema::Limits limits;
  limits.memory_bytes = 3ULL << 30;
  limits.pids = 256;
  limits.disk_bytes = 16ULL << 20;
  return limits;
}

vm::Machine TestMachine() {
  vm::Machine machine;
  machine.ram_bytes = 2ULL << 30;
  machine.tsc_khz = vm::MeasureTscKhz();
  return machine;
}

vm::Awakening SomeAwakening() {
  vm::Awakening awakening;
  awakening.clock_unix_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::system_clock::now().time_since_epoch())
                                .count();
  (void)!::getrandom(awakening.seed.data(), awakening.seed.size(), 0);
  return awakening;
}

namespace {

// As it comes; "" for a machine that said something else.
bool Take(const vm::Frame& frame, Answer* answer) {
  switch (frame.kind) {
    case vm::FrameKind::kOutput: {
      const auto output = vm::DecodeOutput(frame.body);
      if (!output) break;
      (output->stream == schema::EventKind::kStderr ? answer->err : answer->out) += output->piece;
      return true;
    }
    case vm::FrameKind::kState:
      return true;
    case vm::FrameKind::kEnd: {
      auto end = vm::DecodeEnd(frame.body);
      if (!end) break;
      answer->end = std::move(*end);
      return false;
    }
    case vm::FrameKind::kFailed: {
      const auto why = vm::DecodeFailed(frame.body);
      answer->error = "the agent failed: " + (why ? *why : why.error().message);
      return false;
    }
    default:
      break;
  }
  answer->error = "what the agent said is not to be understood";
  return false;
}

}  // namespace

Answer RunInMachine(vm::ReadyMachine& machine, const std::string& language, const std::string& code,
                    Deadline deadline) {
  Answer answer;
  vm::Job job;
  job.awakening = SomeAwakening();
  job.language = language;
  job.source.code = code;
  const std::string frame = vm::EncodeJob(job);
  const int channel = machine.fork.channel.get();
  if (::send(channel, frame.data(), frame.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(frame.size())) {
    answer.error = "the job could not be sent";
    return answer;
  }
  if (auto resumed = machine.Resume(); !resumed) {
    answer.error = resumed.error().message;
    return answer;
  }
  vm::FrameReader reader(vm::Reads::kAnswers);
  for (;;) {
    while (const auto said = reader.Next()) {
      if (!Take(*said, &answer)) return answer;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
    pollfd polled{channel, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&polled, 1, static_cast<int>(left.count())) <= 0) {
      answer.error = "no answer in time";
      return answer;
    }
    std::array<char, 65536> buffer;
    const ssize_t n = ::recv(channel, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      std::array<char, 2048> said{};
      const ssize_t words = ::read(machine.fork.stderr_pipe.get(), said.data(), said.size() - 1);
      answer.error = std::string("the machine ended: ") + (words > 0 ? said.data() : "");
      return answer;
    }
    if (auto fed = reader.Feed(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
        !fed) {
      answer.error = fed.error().message;
      return answer;
    }
  }
}

std::vector<pid_t> MachinesOf(pid_t forkserver) {
  std::vector<pid_t> machines;
  for (const pid_t pid : ProcessTree(forkserver)) {
    std::error_code error;
    const auto program =
        std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", error);
    if (program == vm::kQemuPath) machines.push_back(pid);
  }
  return machines;
}

}  // namespace forkbox::sandbox::testing
