#include "runner/execd/ptys_session.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

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
      output_(kRingBytes) {}

PtySession::~PtySession() { Finish(); }

void PtySession::Finish() {
  Stop();
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

void PtySession::WakeThread() {
  const std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
}

void PtySession::Stop() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  WakeThread();
}

void PtySession::End() {
  std::unique_lock lock(mutex_);
  ended_ = true;
  if (running_) {
    const pid_t pid = pid_;
    if (!Tell(PtyMessageKind::kSignal, SIGKILL)) {
      lock.unlock();
      (void)around_.files.Signal(pid, SIGKILL, /*whole_group=*/true, kSignalPatience);
      lock.lock();
    }
    if (changed_.wait_for(lock, kEndPatience, [this] { return !running_; })) return;
  }
  WakeThread();
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
  auto lease = around_.budget.Take(kDescriptors);
  if (!lease) return Fail(lease.error());
  {
    const std::lock_guard lock(mutex_);
    stop_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop_) return Fail(ErrorCode::kUnavailable, "no descriptor is left for a terminal");
    if (ended_) return Fail(ErrorCode::kNotFound, "the terminal was closed");
  }
  auto process = terminal ? StartTerminal(std::move(program)) : around_.box.Start(program);
  if (!process) {
    const std::lock_guard lock(mutex_);
    LetGo();
    return Fail(process.error());
  }

  SetNonBlocking(process->stdin_pipe.get());
  const pid_t pid = process->pid;
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
    terminal_ = terminal;
    pid_ = pid;
    input_ = std::make_shared<const UniqueFd>(std::move(process->stdin_pipe));
    channel_ = std::move(process->channel);
  }
  // It waits for telling_ before it says a word, and sees whether it was stopped meanwhile.
  try {
    thread_ =
        std::thread([this, followed = std::move(*process), taken = std::move(*lease)]() mutable {
          Follow(std::move(followed), std::move(taken));
        });
  } catch (const std::system_error&) {
    (void)around_.files.Signal(pid, SIGKILL, /*whole_group=*/true, kSignalPatience);
    const std::lock_guard lock(mutex_);
    LetGo();
    return Fail(ErrorCode::kUnavailable, "no thread is left for a terminal");
  }
  return {};
}

// Its output takes the place of standard output; there is no other.
Result<sandbox::BoxProcess> PtySession::StartTerminal(sandbox::BoxProgram program) {
  const std::array<std::string, 3> helper{"/opt/forkbox/pty/pty_shell", kColumns, kRows};
  program.command.insert(program.command.begin(), helper.begin(), helper.end());
  program.channel = true;
  auto process = around_.box.Start(program);
  if (!process) return process;
  process->stderr_pipe.Reset();
  // What opened nothing ends by itself: its channel is closed.
  if (auto opened = AwaitTerminal(*process); !opened) return Fail(opened.error());
  return process;
}

Result<void> PtySession::AwaitTerminal(const sandbox::BoxProcess& process) {
  std::array<pollfd, 2> polled{{{process.channel.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  char opened = 0;
  if (::poll(polled.data(), polled.size(), kStartPatienceMs) <= 0 || polled[1].revents != 0 ||
      ::recv(process.channel.get(), &opened, 1, MSG_DONTWAIT) != 1 || opened != kPtyOpened) {
    return Fail(ErrorCode::kUnavailable, "the terminal did not open");
  }
  // Nothing more is for us, and nothing more can be left with us.
  (void)::shutdown(process.channel.get(), SHUT_RD);
  return {};
}

void PtySession::LetGo() {
  running_ = false;
  input_.reset();
  channel_.Reset();
  stop_.Reset();
  connection_ = 0;
}

void PtySession::Follow(sandbox::BoxProcess process, DescriptorBudget::Lease lease) {
  ProcessWatch watch;
  watch.on_output = [this](bool is_stderr, std::string_view bytes) {
    TakeOutput(is_stderr, bytes);
  };
  watch.paced = [this] {
    const std::lock_guard lock(mutex_);
    return connection_ == 0;
  };
  watch.stop_fd = stop_.get();  // ours alone to close
  const Ending ending = WatchProcess(process, around_.files, around_.clock, watch);
  const std::lock_guard telling(telling_);
  {
    const std::lock_guard lock(mutex_);
    // A terminal hangs up; whoever still writes to pipes is not to die of that.
    if (terminal_) process.stdout_pipe.Reset();
    LetGo();
    changed_.notify_all();
  }
  around_.leftovers.Add(std::move(process.stdout_pipe));
  around_.leftovers.Add(std::move(process.stderr_pipe));
  process = sandbox::BoxProcess();
  lease = DescriptorBudget::Lease();
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

// A pty_shell that takes nothing misses it.
bool PtySession::Tell(PtyMessageKind kind, int first, int second) {
  if (!channel_) return false;
  const PtyMessage message{kind, static_cast<std::uint16_t>(first),
                           static_cast<std::uint16_t>(second)};
  return ::send(channel_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         sizeof message;
}

void PtySession::Resize(std::uint64_t connection, std::uint16_t columns, std::uint16_t rows) {
  const std::lock_guard lock(mutex_);
  if (connection_ == connection) (void)Tell(PtyMessageKind::kResize, columns, rows);
}

void PtySession::Signal(std::uint64_t connection, int number) {
  pid_t pid = -1;
  {
    const std::lock_guard lock(mutex_);
    if (connection_ != connection || !running_) return;
    // SIGINT and SIGQUIT to the job that has the terminal: bash itself takes no notice of these.
    const bool key = number == SIGINT || number == SIGQUIT;
    if (Tell(key ? PtyMessageKind::kKey : PtyMessageKind::kSignal, number)) return;
    pid = pid_;
  }
  (void)around_.files.Signal(pid, number, /*whole_group=*/true);
}

}  // namespace forkbox::execd
