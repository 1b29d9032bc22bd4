#include "runner/execd/shells_session.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "runner/execd/pipe_reading.h"
#include "runner/execd/process_watch.h"

namespace forkbox::execd {
namespace {

using nlohmann::json;

constexpr std::chrono::hours kLongestRun{24};      // where none is asked for (reference 5)
constexpr std::chrono::seconds kSendPatience{5};   // for a command to be taken: mostly a pipe's
constexpr std::chrono::seconds kTellPatience{1};   // for the order to end a run; and at our own end
constexpr std::chrono::seconds kOverPatience{3};   // for a killed run to be over
constexpr std::size_t kDescriptors = 4;            // its end, channel, output, and stop_
constexpr std::size_t kMaxFrameBytes = 64U << 10;  // of what a shell says of itself

std::int64_t NumberOf(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace

ShellSession::ShellSession(std::string id, std::string cwd, const Surroundings& surroundings)
    : id_(std::move(id)), cwd_(std::move(cwd)), around_(surroundings) {}

ShellSession::~ShellSession() { Abandon(); }

Result<void> ShellSession::Start() {
  {
    const std::lock_guard lock(mutex_);
    if (!stop_) {
      auto lease = around_.budget.Take(kDescriptors);
      if (!lease) return Fail(lease.error());
      stop_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      if (!stop_) return Fail(ErrorCode::kUnavailable, "no descriptor is left for a session");
      lease_ = std::move(*lease);
    }
  }
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kCommand;
  program.command = {"/opt/forkbox/bash/session", "--merged"};
  program.env.assign(around_.env.begin(), around_.env.end());
  program.cwd = cwd_;
  program.channel = true;
  auto process = around_.box.Start(program);
  if (!process) return Fail(process.error());
  process_ = std::move(*process);
  process_.stdin_pipe.Reset();
  process_.stderr_pipe.Reset();  // it makes one stream of the two
  SetNonBlocking(process_.stdout_pipe.get());
  frames_ = FrameReader(kMaxFrameBytes);
  idle_ = around_.leftovers.Add(std::move(process_.stdout_pipe));
  return {};
}

// What runs in it loses its reader only in as far as nobody needs it: the pipe is read on.
void ShellSession::Abandon() {
  around_.leftovers.Add(std::move(process_.stdout_pipe));
  process_ = sandbox::BoxProcess();
  idle_ = 0;
}

bool ShellSession::Lives() {
  if (!process_.channel) return false;
  std::array<pollfd, 2> polled{
      {{process_.status.get(), POLLIN, 0}, {process_.channel.get(), POLLRDHUP, 0}}};
  return ::poll(polled.data(), polled.size(), 0) == 0;
}

bool ShellSession::AwaitTurn(Audience& listener) {
  std::unique_lock lock(mutex_);
  while (busy_ && !ended_ && listener.listening()) {
    if (turn_.wait_for(lock, kPingInterval, [this] { return !busy_ || ended_; })) break;
    lock.unlock();
    listener.Put(Event::Type::kPing, "pong");
    lock.lock();
  }
  if (busy_ || ended_ || !listener.listening()) return false;
  busy_ = true;
  return true;
}

void ShellSession::LeaveTurn() {
  const std::lock_guard lock(mutex_);
  busy_ = false;
  turn_.notify_all();
}

void ShellSession::Stop() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  const std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
  turn_.notify_all();
}

void ShellSession::End() {
  Stop();
  std::unique_lock lock(mutex_);
  turn_.wait(lock, [this] { return !busy_; });
  Abandon();
}

Result<void> ShellSession::Run(const Shells::RunRequest& request, EventSink& sink) {
  Audience listener(sink);
  listener.Put(Event::Type::kInit, id_);
  listener.Put(Event::Type::kPing, "pong");
  const auto fail = [&](const Ending& ending, bool fresh) {
    Event event;
    event.type = Event::Type::kError;
    event.ename = "CommandExecError";
    event.evalue = std::to_string(ending.exit_code);
    event.traceback = {ending.error};
    if (fresh) event.traceback.emplace_back("the state of the session was lost");
    listener.Put(event);
  };
  if (!AwaitTurn(listener)) {
    fail({-1, "session " + id_ + " was deleted"}, false);
    return {};
  }
  const SteadyTime started = around_.clock.Now();
  Done done;
  if (!Lives()) {
    if (idle_ != 0) process_.stdout_pipe = around_.leftovers.Take(idle_);
    Abandon();
    if (auto started_anew = Start(); !started_anew) {
      LeaveTurn();
      fail({-1, "the session did not start: " + started_anew.error().message}, false);
      return {};
    }
  }
  done = Follow(request, listener);
  LeaveTurn();
  if (!done.ending.Succeeded()) {
    fail(done.ending, done.fresh);
    return {};
  }
  Event event;
  event.type = Event::Type::kExecutionComplete;
  event.execution_time =
      std::chrono::duration_cast<std::chrono::milliseconds>(around_.clock.Now() - started);
  listener.Put(event);
  return {};
}

void ShellSession::TakeOutput(Audience& listener, bool at_end) {
  if (!process_.stdout_pipe) return;
  std::array<char, kPipeReadBytes> buffer;  // NOLINT: filled by read
  const auto put = [&](std::string line) { listener.Put(Event::Type::kStdout, std::move(line)); };
  const auto consume = [&](std::string_view bytes) {
    if (listener.listening()) lines_.Feed(bytes, put);
  };
  const PipeState state = at_end ? ReadWaiting(process_.stdout_pipe.get(), buffer, consume)
                                 : ReadOnce(process_.stdout_pipe.get(), buffer, consume);
  if (state == PipeState::kEnded) process_.stdout_pipe.Reset();
  if (at_end) lines_.Finish(put);
}

// Nothing: the run goes on.
std::optional<ShellSession::Done> ShellSession::ReadFrames() {
  const Done lost{DescribeWaitStatus(SIGKILL), true};
  std::array<char, 16384> piece;  // NOLINT: filled by recv
  const ssize_t n = ::recv(process_.channel.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (n <= 0) return lost;
  frames_.Append({piece.data(), static_cast<std::size_t>(n)});
  for (;;) {
    json message;
    switch (frames_.Next(&message)) {
      case FrameReader::Step::kNeedMore:
        return std::nullopt;
      case FrameReader::Step::kBroken:
        return lost;
      case FrameReader::Step::kFrame:
        break;
    }
    if (message.value("ev", json()) != "done") continue;
    const auto fresh = message.find("fresh");
    const auto signal = static_cast<int>(NumberOf(message, "signal") & 0x7f);
    const auto code = static_cast<int>(NumberOf(message, "exit_code") & 0xff);
    return Done{DescribeWaitStatus(signal != 0 ? signal : code << 8),
                fresh != message.end() && *fresh == true};
  }
}

ShellSession::Done ShellSession::Follow(const Shells::RunRequest& request, Audience& listener) {
  const Clock& clock = around_.clock;
  process_.stdout_pipe = around_.leftovers.Take(std::exchange(idle_, 0));
  if (process_.stdout_pipe) {
    // What was printed between the runs belongs to none of them.
    std::array<char, kPipeReadBytes> buffer;  // NOLINT: filled by read
    (void)ReadWaiting(process_.stdout_pipe.get(), buffer, [](std::string_view) {});
  }
  lines_ = LineSplitter();

  json message{{"op", "run"}, {"code", request.command}};
  if (!request.cwd.empty()) message["cwd"] = request.cwd;
  std::optional<Done> done;
  const auto sent =
      SendFrame(process_.channel.get(), message, std::chrono::steady_clock::now() + kSendPatience);
  if (!sent) done = Done{{-1, "the session did not take the command: " + sent.error().message}};

  const auto timeout =
      request.timeout.count() > 0 ? request.timeout : std::chrono::milliseconds(kLongestRun);
  const SteadyTime deadline = clock.Now() + timeout;
  SteadyTime ping = clock.Now() + kPingInterval;
  SteadyTime given_up = SteadyTime::max();  // set when the run was told to end
  bool timed_out = false;
  bool stopped = false;
  while (!done) {
    const SteadyTime now = clock.Now();
    if (given_up == SteadyTime::max() && (now >= deadline || stopped || !listener.listening())) {
      timed_out = now >= deadline;
      (void)SendFrame(process_.channel.get(), {{"op", "kill"}},
                      std::chrono::steady_clock::now() + kTellPatience);
      given_up = clock.Now() + (stopped ? kTellPatience : kOverPatience);
    }
    if (now >= given_up) {
      // It does not listen: stopped, or no longer what we started.
      (void)around_.files.Signal(process_.pid, SIGKILL, /*whole_group=*/true, kSignalPatience);
      done = Done{DescribeWaitStatus(SIGKILL), true};
      break;
    }
    if (now >= ping) {
      listener.Put(Event::Type::kPing, "pong");
      ping = clock.Now() + kPingInterval;
      continue;
    }
    const SteadyTime next =
        std::min({ping, given_up, given_up == SteadyTime::max() ? deadline : given_up});
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
    std::array<pollfd, 4> polled{{{process_.status.get(), POLLIN, 0},
                                  {process_.channel.get(), POLLIN, 0},
                                  {process_.stdout_pipe.get(), POLLIN, 0},
                                  {stopped ? -1 : stop_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), static_cast<int>(wait)) < 0) continue;
    stopped = stopped || polled[3].revents != 0;
    if (polled[2].revents != 0) TakeOutput(listener, /*at_end=*/false);
    if (polled[1].revents != 0) done = ReadFrames();
    if (!done && polled[0].revents != 0) done = Done{DescribeWaitStatus(SIGKILL), true};
  }
  TakeOutput(listener, /*at_end=*/true);
  if (timed_out && done->ending.exit_code == -1) done->ending = DescribeTimeout(timeout);
  if (done->fresh && !Lives()) {
    Abandon();
  } else {
    idle_ = around_.leftovers.Add(std::move(process_.stdout_pipe));
  }
  return *done;
}

}  // namespace forkbox::execd
