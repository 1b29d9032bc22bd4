#include "runner/execd/ptys_session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "runner/execd/pipe_reading.h"
#include "runner/execd/process_watch.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kRingBytes = 1U << 20;
constexpr std::size_t kChunkBytes = 32U << 10;        // of one OnOutput() (reference 10)
constexpr const char* kColumns = "80";                // at first
constexpr const char* kRows = "24";                   //
constexpr int kStartPatienceMs = 10'000;              // for the terminal
constexpr std::chrono::seconds kTakeOverPatience{5};  // for a client that is being told something
constexpr std::chrono::seconds kInputPatience{10};    // for a program that reads nothing
constexpr std::chrono::seconds kEndPatience{2};       // for a killed shell, before it is given up

// What the process sent as its terminal, if it is one.
Result<UniqueFd> ReceiveMaster(int channel) {
  pollfd polled{channel, POLLIN, 0};
  if (::poll(&polled, 1, kStartPatienceMs) != 1) {
    return Fail(ErrorCode::kUnavailable, "the terminal did not open");
  }
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  char byte = 0;
  iovec part{&byte, 1};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  UniqueFd master;
  if (::recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 1) {
    const cmsghdr* rights = CMSG_FIRSTHDR(&header);
    if (rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
        rights->cmsg_len == CMSG_LEN(sizeof(int))) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
      master.Reset(fd);
    }
  }
  // Only the master of a pseudoterminal has such a number (ioctl_tty(2)).
  struct stat info {};
  unsigned number = 0;
  if (!master || ::fstat(master.get(), &info) != 0 || !S_ISCHR(info.st_mode) ||
      ::ioctl(master.get(), TIOCGPTN, &number) != 0) {
    return Fail(ErrorCode::kUnavailable, "the terminal did not open");
  }
  SetNonBlocking(master.get());
  return master;
}

UniqueFd Duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

}  // namespace

class PtySession::Connection : public Ptys::Connection {
 public:
  Connection(std::shared_ptr<PtySession> session, std::uint64_t number)
      : session_(std::move(session)), number_(number) {}
  ~Connection() override { session_->Disconnect(number_); }
  Result<void> Input(std::string_view bytes) override { return session_->Input(number_, bytes); }
  void Resize(std::uint16_t columns, std::uint16_t rows) override {
    session_->Resize(number_, columns, rows);
  }
  void Signal(int number) override { session_->Signal(number_, number); }

 private:
  const std::shared_ptr<PtySession> session_;  // lives on as long as somebody is connected
  const std::uint64_t number_;
};

PtySession::PtySession(std::string cwd, std::string command, const Surroundings& surroundings)
    : cwd_(std::move(cwd)),
      command_(std::move(command)),
      around_(surroundings),
      output_(kRingBytes) {
  stop_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  FORKBOX_CHECK(stop_.valid());
}

PtySession::~PtySession() { Finish(); }

void PtySession::Finish() {
  End();
  std::thread thread;
  {
    const std::lock_guard telling(telling_);
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

Ptys::Status PtySession::status() const {
  const std::lock_guard lock(mutex_);
  return {running_, output_.end()};
}

void PtySession::End() {
  std::unique_lock lock(mutex_);
  ended_ = true;
  if (!running_) return;
  const pid_t pid = pid_;
  lock.unlock();
  (void)around_.files.Signal(pid, SIGKILL, /*whole_group=*/true);
  lock.lock();
  if (changed_.wait_for(lock, kEndPatience, [this] { return !running_; })) return;
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
}

Result<std::unique_ptr<Ptys::Connection>> PtySession::Connect(const Ptys::Attach& attach,
                                                              Ptys::Client& client) {
  {
    const std::lock_guard lock(mutex_);
    if (connection_ != 0 && !attach.takeover) {
      return Fail(ErrorCode::kConflict, "somebody is connected to this terminal");
    }
  }
  const std::unique_lock telling(telling_, kTakeOverPatience);
  if (!telling) return Fail(ErrorCode::kConflict, "whoever is connected does not let go");
  std::unique_lock lock(mutex_);
  if (connection_ != 0 && !attach.takeover) {
    return Fail(ErrorCode::kConflict, "somebody is connected to this terminal");
  }
  if (ended_) return Fail(ErrorCode::kNotFound, "the terminal was closed");
  const bool running = running_;
  lock.unlock();
  if (!running) {
    if (thread_.joinable()) thread_.join();  // it holds neither mutex any more
    if (auto started = Start(attach.terminal); !started) return Fail(started.error());
  }
  if (client_ != nullptr) client_->OnTakenOver();
  client_ = nullptr;

  std::uint64_t start = 0;
  lock.lock();
  const std::uint64_t number = ++last_connection_;
  connection_ = number;
  const std::string missed = output_.Read(attach.since, kRingBytes, &start);
  const bool terminal = terminal_;
  lock.unlock();
  if ((missed.empty() || client.OnReplay(start, missed)) && client.OnConnected(terminal)) {
    client_ = &client;
  }
  // Begun with telling_ held, so that nothing is told before this.
  return std::make_unique<Connection>(shared_from_this(), number);
}

Result<void> PtySession::Start(bool terminal) {
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kCommand;
  program.command = {"/bin/bash", "--norc", "--noprofile"};
  if (!command_.empty()) {
    program.command.emplace_back("-c");
    program.command.push_back(command_);
  }
  program.env.assign(around_.env.begin(), around_.env.end());
  program.cwd = cwd_;
  auto process = terminal ? StartTerminal(std::move(program)) : around_.box.Start(program);
  if (!process) return Fail(process.error());

  UniqueFd input =
      terminal ? Duplicate(process->stdout_pipe.get()) : std::move(process->stdin_pipe);
  if (!input) return FailErrno("dup");
  SetNonBlocking(input.get());
  process->stdin_pipe.Reset();
  const std::lock_guard lock(mutex_);
  running_ = true;
  terminal_ = terminal;
  pid_ = process->pid;
  input_ = std::make_shared<const UniqueFd>(std::move(input));
  thread_ = std::thread(
      [this, followed = std::move(*process)]() mutable { Follow(std::move(followed)); });
  return {};
}

// The terminal takes the place of standard output; there is no other.
Result<sandbox::BoxProcess> PtySession::StartTerminal(sandbox::BoxProgram program) {
  const std::array<std::string, 3> helper{"/opt/forkbox/pty/pty_shell", kColumns, kRows};
  program.command.insert(program.command.begin(), helper.begin(), helper.end());
  program.channel = true;
  auto process = around_.box.Start(program);
  if (!process) return process;
  auto master = ReceiveMaster(process->channel.get());
  if (!master) {
    (void)around_.files.Signal(process->pid, SIGKILL, /*whole_group=*/true);
    return Fail(master.error());
  }
  process->stdout_pipe = std::move(*master);
  process->stderr_pipe.Reset();
  process->channel.Reset();
  return process;
}

void PtySession::Follow(sandbox::BoxProcess process) {
  ProcessWatch watch;
  watch.on_output = [this](bool is_stderr, std::string_view bytes) {
    TakeOutput(is_stderr, bytes);
  };
  watch.paced = [this] {
    const std::lock_guard lock(mutex_);
    return connection_ == 0;
  };
  watch.stop_fd = stop_.get();
  const Ending ending = WatchProcess(process, around_.files, around_.clock, watch);
  const std::lock_guard telling(telling_);
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    input_.reset();
    connection_ = 0;
    // A terminal hangs up; whoever still writes to pipes is not to die of that.
    if (terminal_) process.stdout_pipe.Reset();
    changed_.notify_all();
  }
  around_.leftovers.Add(std::move(process.stdout_pipe));
  around_.leftovers.Add(std::move(process.stderr_pipe));
  if (client_ != nullptr) client_->OnExit(ending.exit_code);
  client_ = nullptr;
}

void PtySession::TakeOutput(bool is_stderr, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kChunkBytes);
    bytes.remove_prefix(piece.size());
    const std::lock_guard telling(telling_);
    {
      const std::lock_guard lock(mutex_);
      output_.Append(piece);
    }
    if (client_ != nullptr && !client_->OnOutput(is_stderr, piece)) client_ = nullptr;
  }
}

void PtySession::Disconnect(std::uint64_t connection) {
  // Waits for what the client is being told: afterwards nobody calls it.
  const std::lock_guard telling(telling_);
  const std::lock_guard lock(mutex_);
  if (connection_ != connection) return;  // taken over, or exited
  connection_ = 0;
  client_ = nullptr;
}

Result<void> PtySession::Input(std::uint64_t connection, std::string_view bytes) {
  std::shared_ptr<const UniqueFd> input;
  {
    const std::lock_guard lock(mutex_);
    if (connection_ == connection) input = input_;
  }
  if (!input) return Fail(ErrorCode::kUnavailable, "the shell has exited");
  const auto deadline = std::chrono::steady_clock::now() + kInputPatience;
  while (!bytes.empty()) {
    // The process ignores SIGPIPE, as the driver asks (process_driver.h).
    const ssize_t n = ::write(input->get(), bytes.data(), std::min(bytes.size(), kChunkBytes));
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return Fail(ErrorCode::kUnavailable, "the shell has exited");
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    // By steps: the shell may end meanwhile, and another copy of the descriptor keeps it open.
    pollfd polled{input->get(), POLLOUT, 0};
    const int step = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 200));
    if (::poll(&polled, 1, step) == 1) continue;
    if (left.count() <= 0) {
      return Fail(ErrorCode::kUnavailable, "the program does not read its input");
    }
    const std::lock_guard lock(mutex_);
    if (connection_ != connection || input_ != input) {
      return Fail(ErrorCode::kUnavailable, "the shell has exited");
    }
  }
  return {};
}

void PtySession::Resize(std::uint64_t connection, std::uint16_t columns, std::uint16_t rows) {
  const std::lock_guard lock(mutex_);
  if (connection_ != connection || !terminal_ || !input_) return;
  winsize size{};
  size.ws_col = columns;
  size.ws_row = rows;
  (void)::ioctl(input_->get(), TIOCSWINSZ, &size);
}

void PtySession::Signal(std::uint64_t connection, int number) {
  pid_t pid = -1;
  {
    const std::lock_guard lock(mutex_);
    if (connection_ != connection || !running_) return;
    pid = pid_;
    // To the job that has the terminal, as its keys would: bash itself takes no notice of these.
    if (terminal_ && (number == SIGINT || number == SIGQUIT) && input_ &&
        ::ioctl(input_->get(), TIOCSIG, number) == 0) {
      return;
    }
  }
  (void)around_.files.Signal(pid, number, /*whole_group=*/true);
}

}  // namespace forkbox::execd
