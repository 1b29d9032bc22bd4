#include "runner/sandbox/forkserver_client.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runner/sandbox/forkserver/cgroup.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

// A template that dies between the request and the fork is started again, and asked again.
constexpr int kJoinAttempts = 3;

int MillisUntil(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(0, left.count()));
}

bool WriteFile(const std::string& path, const std::string& text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// user_namespaces(7): one id may be mapped without privileges, after giving up setgroups.
bool MapOneId(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  return WriteFile(base + "/setgroups", "deny") &&
         WriteFile(base + "/uid_map", "0 " + std::to_string(::geteuid()) + " 1") &&
         WriteFile(base + "/gid_map", "0 " + std::to_string(::getegid()) + " 1");
}

std::string Text(const ControlMessage& message) {
  return {message.text.data(), strnlen(message.text.data(), message.text.size())};
}

}  // namespace

Result<std::unique_ptr<ForkserverClient>> ForkserverClient::Start(const std::string& executable,
                                                                  ForkserverConfig config) {
  config.privileged = ::geteuid() == 0;
  const std::string packet = config.Encode();
  if (packet.size() > kMaxConfigBytes) {
    return Fail(ErrorCode::kInvalidArgument, "too many languages for one forkserver");
  }
  if (::access(executable.c_str(), X_OK) != 0) return FailErrno(executable);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return FailErrno("socketpair");
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  int gate[2];  // held shut until a user namespace has its mapping
  if (::pipe2(gate, O_CLOEXEC) != 0) return FailErrno("pipe");
  const UniqueFd gate_out(gate[0]);
  UniqueFd gate_in(gate[1]);

  MakeRoomForCells();
  char* const argv[] = {const_cast<char*>("forkbox-forkserver"), nullptr};
  char* const envp[] = {nullptr};
  const char* path = executable.c_str();

  clone_args args{};
  args.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
  if (!config.privileged) args.flags |= CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) return FailErrno("clone the forkserver");
  if (pid == 0) {
    // System calls only until exec. A dead driver must not leave us behind.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte = 0;
    ::close(gate_in.get());
    (void)!::read(gate_out.get(), &byte, 1);
    if (byte != 1) ::_exit(1);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // A session of its own: a terminal's interrupt is for the driver, which then drains.
    ::setsid();
    if (::dup2(theirs.get(), kControlFd) < 0) ::_exit(1);
    if (theirs.get() == kControlFd) ::fcntl(kControlFd, F_SETFD, 0);
    ::syscall(SYS_close_range, kControlFd + 1, ~0U, 0);
    ::execve(path, argv, envp);
    ::_exit(127);
  }
  std::unique_ptr<ForkserverClient> client(new ForkserverClient());
  client->pid_ = pid;
  client->control_ = std::move(ours);
  client->templates_.resize(config.templates.size());
  if (!config.privileged && !MapOneId(pid)) {
    const auto failure = FailErrno("map the user namespace");
    gate_in.Reset();  // it need not be waited for
    return failure;
  }
  const char open = 1;
  if (::write(gate_in.get(), &open, 1) != 1) return FailErrno("pipe");
  if (!SendPacket(client->control_.get(), packet.data(), packet.size())) {
    return FailErrno("configure the forkserver");
  }
  return client;
}

// It hears the hang-up, lets its cells go and ends; the listener hears that in turn.
void ForkserverClient::HangUp() {
  if (control_) ::shutdown(control_.get(), SHUT_WR);
}

ForkserverClient::~ForkserverClient() {
  HangUp();
  if (pid_ > 0) {
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    pollfd polled{pidfd.get(), POLLIN, 0};
    if (pidfd && ::poll(&polled, 1, 5000) == 0) ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (listener_.joinable()) listener_.join();
}

Result<void> ForkserverClient::Connect(Deadline deadline) {
  pollfd polled{control_.get(), POLLIN, 0};
  ControlMessage message;
  if (::poll(&polled, 1, MillisUntil(deadline)) <= 0) {
    return Fail(ErrorCode::kUnavailable, "the forkserver did not come up in time");
  }
  if (RecvPacket(control_.get(), &message, sizeof message, nullptr, nullptr) != sizeof message) {
    std::lock_guard lock(mutex_);
    gone_ = true;
    return Fail(ErrorCode::kUnavailable, "the forkserver ended while starting");
  }
  if (message.kind != ControlKind::kReady || message.error != 0) {
    return Fail(ErrorCode::kUnavailable, "forkserver: " + Text(message));
  }
  protections_ = message.flags;
  listener_ = std::thread([this] { Listen(); });
  return {};
}

void ForkserverClient::Listen() {
  for (;;) {
    ControlMessage message;
    std::array<int, kMaxPacketFds> fds{};
    std::size_t fd_count = fds.size();
    const ssize_t size =
        RecvPacket(control_.get(), &message, sizeof message, fds.data(), &fd_count);
    // Our descriptors ran out: the message is whole, what came with it is closed, and the fork with
    // it. Its requester hears of it now.
    const bool lost_fds = size < 0 && errno == EMSGSIZE;
    if (lost_fds) message.error = EMFILE;
    std::vector<UniqueFd> owned;
    for (std::size_t i = 0; i < fd_count; ++i) owned.emplace_back(fds[i]);
    std::lock_guard lock(mutex_);
    if (size <= 0 && !lost_fds) {
      gone_ = true;
      for (auto& state : templates_)
        state = {false, true, "the forkserver is gone", state.heard + 1};
      changed_.notify_all();
      return;
    }
    if (message.kind == ControlKind::kTemplate && message.template_index < templates_.size()) {
      TemplateState& state = templates_[message.template_index];
      state.known = true;
      ++state.heard;
      state.ready = message.error == 0;
      state.reason = message.error == 0 ? "" : Text(message);
    } else if (message.kind == ControlKind::kForked) {
      const auto found = waiting_.find(message.request_id);
      if (found != waiting_.end()) {
        found->second.answered = true;
        found->second.message = message;
        found->second.fds = std::move(owned);
      }
    }
    changed_.notify_all();
  }
}

ForkserverClient::TemplateState ForkserverClient::StateOf(std::size_t template_index) const {
  std::lock_guard lock(mutex_);
  return templates_.at(template_index);
}

bool ForkserverClient::WaitForTemplate(std::size_t template_index, Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return templates_.at(template_index).known; });
}

bool ForkserverClient::alive() const {
  std::lock_guard lock(mutex_);
  return !gone_;
}

ForkserverClient::Waiting ForkserverClient::AskOnce(ForkRequest* request, Deadline deadline) {
  Waiting answer;
  {
    std::lock_guard lock(mutex_);
    if (gone_) return answer;
    request->request_id = ++next_request_;
    waiting_[request->request_id];
  }
  bool sent = false;
  {
    std::lock_guard lock(send_mutex_);
    sent = SendPacket(control_.get(), request, sizeof *request);
  }
  std::unique_lock lock(mutex_);
  Waiting& mine = waiting_[request->request_id];
  if (sent) changed_.wait_until(lock, deadline, [&] { return mine.answered || gone_; });
  answer = std::move(mine);
  waiting_.erase(request->request_id);
  return answer;
}

Result<ForkserverClient::Waiting> ForkserverClient::Ask(ForkRequest request, std::size_t fd_count,
                                                        Deadline deadline) {
  for (;;) {
    const TemplateState before = StateOf(request.template_index);
    Waiting answer = AskOnce(&request, deadline);
    if (!answer.answered) {
      return Fail(ErrorCode::kUnavailable,
                  alive() ? "the forkserver does not answer" : "the forkserver is gone");
    }
    const int error = answer.message.error;
    if (error == 0 && answer.fds.size() == fd_count) return answer;
    if (error == 0) {
      return Fail(ErrorCode::kUnavailable, "the forkserver's answer is malformed");
    }
    if (error == EMFILE) {
      return Fail(ErrorCode::kUnavailable, "descriptors ran out (RLIMIT_NOFILE)");
    }
    if (error != EINPROGRESS) return Fail(ErrorCode::kUnavailable, Text(answer.message));
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kUnavailable, Text(answer.message) + " in time");
    }
    if (request.kind == RequestKind::kFreeze) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    std::unique_lock lock(mutex_);
    const TemplateState& state = templates_.at(request.template_index);
    const bool news =
        changed_.wait_until(lock, deadline, [&] { return state.heard != before.heard || gone_; });
    if (!news) return Fail(ErrorCode::kUnavailable, Text(answer.message) + " in time");
    // The death of one that was ready is followed by another start, and the news of that.
    if (state.heard != before.heard && !state.ready && !before.ready) {
      return Fail(ErrorCode::kUnavailable, state.reason);
    }
  }
}

Result<void> ForkserverClient::Order(RequestKind kind, std::size_t template_index,
                                     std::string_view variant, Deadline deadline) {
  ForkRequest request;
  if (variant.size() > request.variant.size()) {
    return Fail(ErrorCode::kInvalidArgument, "no variant of a template");
  }
  std::copy(variant.begin(), variant.end(), request.variant.begin());
  request.kind = kind;
  request.template_index = static_cast<std::uint32_t>(template_index);
  auto answer = Ask(request, 0, deadline);
  if (!answer) return Fail(answer.error());
  return {};
}

Result<void> ForkserverClient::RestartTemplate(std::size_t template_index, Deadline deadline,
                                               std::string_view variant) {
  return Order(RequestKind::kRestart, template_index, variant, deadline);
}

Result<void> ForkserverClient::StopTemplate(std::size_t template_index, Deadline deadline) {
  return Order(RequestKind::kStop, template_index, {}, deadline);
}

namespace {

// The first words on the status socket of a fork. `template_gone`: there will be none.
Result<StatusMessage> WaitUntilReady(const UniqueFd& status_socket, Deadline deadline,
                                     bool* template_gone) {
  *template_gone = false;
  pollfd polled{status_socket.get(), POLLIN, 0};
  if (::poll(&polled, 1, MillisUntil(deadline)) <= 0) {
    return Fail(ErrorCode::kUnavailable, "the fork did not come up in time");
  }
  StatusMessage status;
  if (RecvPacket(status_socket.get(), &status, sizeof status, nullptr, nullptr) != sizeof status) {
    *template_gone = true;
    return Fail(ErrorCode::kUnavailable, "the template is gone");
  }
  if (status.kind == StatusKind::kForkFailed) {
    return Fail(ErrorCode::kUnavailable,
                std::string(StageName(status.stage)) + ": " + std::strerror(status.error));
  }
  if (status.kind != StatusKind::kReady) {
    return Fail(ErrorCode::kUnavailable, "the fork died before its job");
  }
  return status;
}

}  // namespace

Result<ReadyFork> ForkserverClient::Fork(std::size_t template_index, const schema::Limits& limits,
                                         Deadline deadline) {
  ForkRequest request;
  request.template_index = static_cast<std::uint32_t>(template_index);
  request.pids = limits.pids;
  request.memory_bytes = limits.memory_bytes;
  request.disk_bytes = limits.disk_bytes;
  auto answer = Ask(request, kForkedFdCount, deadline);
  if (!answer) return Fail(answer.error());
  ReadyFork fork;
  fork.status = std::move(answer->fds[kFdStatus]);
  fork.channel = std::move(answer->fds[kFdChannel]);
  fork.stdin_pipe = std::move(answer->fds[kFdStdin]);
  fork.stdout_pipe = std::move(answer->fds[kFdStdout]);
  fork.stderr_pipe = std::move(answer->fds[kFdStderr]);
  fork.cpu_usage = std::move(answer->fds[kFdCpuUsage]);
  fork.memory_peak = std::move(answer->fds[kFdMemoryPeak]);
  fork.memory_events = std::move(answer->fds[kFdMemoryEvents]);
  bool template_gone = false;
  auto ready = WaitUntilReady(fork.status, deadline, &template_gone);
  if (!ready) return Fail(ready.error());
  return fork;
}

Result<OpenedBox> ForkserverClient::OpenBox(const BoxLimits& limits, Deadline deadline) {
  ForkRequest request;
  request.kind = RequestKind::kBox;
  request.pids = limits.pids;
  request.memory_bytes = limits.memory_bytes;
  request.disk_bytes = limits.disk_bytes;
  request.cpu_millis = limits.cpu_millis;
  auto answer = Ask(request, kBoxFdCount, deadline);
  if (!answer) return Fail(answer.error());
  OpenedBox box;
  box.number = answer->message.box;
  box.lease = std::move(answer->fds[kBoxFdLease]);
  box.cpu_usage = std::move(answer->fds[kBoxFdCpuUsage]);
  box.memory_peak = std::move(answer->fds[kBoxFdMemoryPeak]);
  box.memory_events = std::move(answer->fds[kBoxFdMemoryEvents]);
  box.memory_now = std::move(answer->fds[kBoxFdMemoryNow]);
  return box;
}

Result<JoinedFork> ForkserverClient::Join(std::uint64_t box, std::size_t template_index,
                                          Deadline deadline) {
  ForkRequest request;
  request.kind = RequestKind::kJoin;
  request.box = box;
  request.template_index = static_cast<std::uint32_t>(template_index);
  for (int attempt = 1;; ++attempt) {
    auto answer = Ask(request, kJoinedFdCount, deadline);
    if (!answer) return Fail(answer.error());
    JoinedFork joined;
    joined.fork.status = std::move(answer->fds[kFdStatus]);
    joined.fork.channel = std::move(answer->fds[kFdChannel]);
    joined.fork.stdin_pipe = std::move(answer->fds[kFdStdin]);
    joined.fork.stdout_pipe = std::move(answer->fds[kFdStdout]);
    joined.fork.stderr_pipe = std::move(answer->fds[kFdStderr]);
    bool template_gone = false;
    auto ready = WaitUntilReady(joined.fork.status, deadline, &template_gone);
    if (ready) {
      joined.pid = ready->pid;
      return joined;
    }
    // Whatever it may have forked ends without a job: no harm in another.
    if (!template_gone || !alive() || attempt == kJoinAttempts) return Fail(ready.error());
  }
}

Result<void> ForkserverClient::Freeze(std::uint64_t box, Deadline deadline) {
  ForkRequest request;
  request.kind = RequestKind::kFreeze;
  request.box = box;
  auto answer = Ask(request, 0, deadline);
  if (!answer) return Fail(answer.error());
  return {};
}

Result<void> ForkserverClient::Thaw(std::uint64_t box, Deadline deadline) {
  ForkRequest request;
  request.kind = RequestKind::kThaw;
  request.box = box;
  auto answer = Ask(request, 0, deadline);
  if (!answer) return Fail(answer.error());
  return {};
}

}  // namespace forkbox::sandbox
