#include "runner/execd/contexts_session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/wire.h"
#include "schema/utf8.h"

namespace forkbox::execd {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kPingEvery{3};
constexpr std::chrono::seconds kSendPatience{30};
// How long the word of a process's end may come after the end of its channel.
constexpr milliseconds kStatusPatience{1000};
constexpr std::size_t kReadBytes = 64U << 10;
// The most that a pipe holds (pipe(7), pipe-max-size): after so much, all that was there before
// has been read, however fast more comes.
constexpr std::size_t kMaxPipeBytes = 1U << 20;
// More than the channel can hold.
constexpr int kReadsAfterEnd = 64;
constexpr int kMaxPid = 1 << 22;  // proc(5), pid_max
constexpr std::size_t kMaxTracebackLines = 10'000;
// Read at a stretch when nobody listens, and the rest after it.
constexpr std::size_t kPacedBytes = 1U << 20;
constexpr milliseconds kPacedRest{10};
// Until it is asked again whether there is room for a frame.
constexpr milliseconds kRoomAgain{20};
// Of a large frame, once others may want its room. A megabyte takes a millisecond.
constexpr std::chrono::seconds kFramePatience{30};
constexpr std::size_t kScarceBytes = 128U << 20;  // of ByteBudget::OfProcess()

void SetNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

// How many bytes can be read at once.
std::size_t Waiting(int fd) {
  int size = 0;
  return ::ioctl(fd, FIONREAD, &size) == 0 && size > 0 ? static_cast<std::size_t>(size) : 0;
}

std::string TextOf(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t CountOf(const json& message) {
  const auto found = message.find("count");
  return found != message.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

// Its "data", with what the reference calls "text" (6.4).
std::optional<json> ResultsOf(json& message) {
  const auto found = message.find("data");
  if (found == message.end() || !found->is_object()) return std::nullopt;
  json results = std::move(*found);
  if (const auto plain = results.find("text/plain"); plain != results.end()) {
    json text = std::move(*plain);
    results.erase(plain);
    results["text"] = std::move(text);
  }
  return results;
}

Event ErrorEvent(std::string name, std::string value) {
  Event event;
  event.type = Event::Type::kError;
  event.ename = std::move(name);
  event.evalue = std::move(value);
  return event;
}

std::string DescribeExit(int wait_status, bool out_of_memory) {
  if (WIFEXITED(wait_status)) return "exited with " + std::to_string(WEXITSTATUS(wait_status));
  const int number = WTERMSIG(wait_status);
  if (number == SIGKILL && out_of_memory) return "killed: out of memory";
  const char* name = ::sigabbrev_np(number);
  return "killed by " +
         (name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(number));
}

// A pipe or socket pair; both ends close-on-exec.
struct Ends {
  UniqueFd near;
  UniqueFd far;
};
Result<Ends> NewPipe(bool read_near) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno("pipe");
  return Ends{UniqueFd(ends[read_near ? 0 : 1]), UniqueFd(ends[read_near ? 1 : 0])};
}
Result<Ends> NewChannel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return FailErrno("socketpair");
  }
  return Ends{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

// The sink as long as it listens.
class ContextSession::Listener {
 public:
  explicit Listener(EventSink& sink) : sink_(sink) {}
  void Put(const Event& event) { listens_ = listens_ && sink_.Put(event); }
  void Put(Event::Type type, std::string text) {
    Event event;
    event.type = type;
    event.text = std::move(text);
    Put(event);
  }
  [[nodiscard]] bool listens() const { return listens_; }

 private:
  EventSink& sink_;
  bool listens_ = true;
};

ContextSession::ContextSession(sandbox::BoxProcess process, const sandbox::Box& box, Files& files,
                               const Clock& clock, ByteBudget& frame_room)
    : box_(box),
      files_(files),
      clock_(clock),
      frame_room_(frame_room),
      status_(std::move(process.status)),
      channel_(std::move(process.channel)),
      pid_(process.pid),
      stdout_{std::move(process.stdout_pipe), Event::Type::kStdout, {}},
      stderr_{std::move(process.stderr_pipe), Event::Type::kStderr, {}},
      frames_(frame_room, ByteBudget::OfProcess()),
      oom_kills_seen_(box.Usage().oom_kills) {
  SetNonBlocking(channel_.get());
  SetNonBlocking(stdout_.pipe.get());
  SetNonBlocking(stderr_.pipe.get());
}

Result<void> ContextSession::AwaitReady(Deadline deadline) {
  auto message = NextFrame(deadline);
  if (!message) return Fail(message.error());
  if (TextOf(*message, "ev") != "ready") {
    broken_ = true;
    return Fail(ErrorCode::kUnavailable, WhyEnded());
  }
  const auto forks = message->find("forks");
  forks_ = forks != message->end() && *forks == true;
  if (pid_ > 0) return {};
  // A copy says itself who it is: believed as far as it can hurt only what is in its own box.
  const auto pid = message->find("pid");
  if (pid == message->end() || !pid->is_number_integer() || *pid < 2 || *pid > kMaxPid) {
    broken_ = true;
    return Fail(ErrorCode::kUnavailable, WhyEnded());
  }
  pid_ = pid->get<pid_t>();
  return {};
}

bool ContextSession::ReadChannel(std::size_t most) {
  std::array<char, kReadBytes> bytes;  // NOLINT: filled by recv
  while (true) {
    // Descriptors that come along are dropped by the kernel: there is no place for them
    // (recvmsg(2)).
    const ssize_t size =
        ::recv(channel_.get(), bytes.data(), std::min(most, bytes.size()), MSG_DONTWAIT);
    if (size > 0) {
      frames_.Append({bytes.data(), static_cast<std::size_t>(size)});
      return true;
    }
    if (size < 0 && errno == EINTR) continue;
    return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }
}

Result<json> ContextSession::NextFrame(Deadline deadline) {
  bool open = true;
  while (true) {
    json message;
    switch (frames_.Next(&message)) {
      case FrameReader::Step::kFrame:
        // From a thread that goes on between cells: nobody is there to see it.
        if (TextOf(message, "ev") == "display") continue;
        return message;
      case FrameReader::Step::kBroken:
        broken_ = true;
        return Fail(ErrorCode::kUnavailable, WhyEnded());
      case FrameReader::Step::kNeedMore:
        break;
    }
    if (!open) return Fail(ErrorCode::kUnavailable, WhyEnded());
    const auto left =
        std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return Fail(ErrorCode::kDeadlineExceeded, "says nothing");
    if (frames_.WaitsForRoom()) {
      std::this_thread::sleep_for(kRoomAgain);
      continue;
    }
    std::array<pollfd, 2> polled{{{channel_.get(), POLLIN, 0}, {status_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(),
               static_cast<int>(std::min<std::int64_t>(left, 60'000))) <= 0) {
      continue;
    }
    if (polled[0].revents != 0) {
      open = ReadChannel(kReadBytes);
    } else if (polled[1].revents != 0) {
      open = false;
    }
  }
}

std::size_t ContextSession::Drain(Output& output, Listener& listener) {
  std::string text;
  std::size_t taken = 0;
  while (taken < kMaxPipeBytes && output.pipe) {
    text = std::move(output.held);
    const std::size_t held = text.size();
    text.resize(held + kReadBytes);
    const ssize_t size = ::read(output.pipe.get(), text.data() + held, kReadBytes);
    text.resize(held + (size > 0 ? static_cast<std::size_t>(size) : 0));
    if (size <= 0) {
      output.held = std::move(text);
      if (size < 0 && errno == EINTR) continue;
      if (size == 0 || errno != EAGAIN) output.pipe.Reset();
      break;
    }
    taken += static_cast<std::size_t>(size);
    const std::size_t whole = text.size() - schema::IncompleteUtf8Suffix(text);
    output.held = text.substr(whole);
    text.resize(whole);
    if (!text.empty()) listener.Put(output.type, std::move(text));
  }
  return taken;
}

bool ContextSession::StallsAFrame() {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (!frames_.HoldsPart()) {
    frame_began_.reset();
  } else if (!frame_began_) {
    frame_began_ = now;
  }
  return frame_began_ && now - *frame_began_ > kFramePatience &&
         ByteBudget::OfProcess().used() > kScarceBytes;
}

bool ContextSession::Handle(json message, Listener& listener, bool* done,
                            std::optional<Event>* error) {
  const std::string what = TextOf(message, "ev");
  if (what == "done") {
    *done = true;
    return true;
  }
  if (what == "result" || what == "display") {
    auto results = ResultsOf(message);
    if (!results) return false;
    Event event;
    event.execution_count = what == "result" ? CountOf(message) : 0;
    if (event.execution_count > 0) {
      event.type = Event::Type::kExecutionCount;
      listener.Put(event);
    }
    event.type = Event::Type::kResult;
    event.execution_count = 0;
    event.results = std::move(*results);
    listener.Put(event);
    return true;
  }
  if (what == "error") {
    if (*error) return true;  // a cell fails once
    Event event = ErrorEvent(TextOf(message, "ename"), TextOf(message, "evalue"));
    if (const auto lines = message.find("traceback"); lines != message.end()) {
      if (!lines->is_array() || lines->size() > kMaxTracebackLines) return false;
      for (const json& line : *lines) {
        if (!line.is_string()) return false;
        event.traceback.push_back(line.get<std::string>());
      }
    }
    *error = std::move(event);
    return true;
  }
  return false;
}

std::optional<std::string> ContextSession::RunCell(const std::string& code, EventSink& sink) {
  Listener listener(sink);
  listener.Put(Event::Type::kPing, "pong");
  SteadyTime next_ping = std::chrono::steady_clock::now() + kPingEvery;
  const auto sent = SendFrame(channel_.get(), {{"op", "run"}, {"code", code}},
                              std::chrono::steady_clock::now() + kSendPatience);
  if (!sent && sent.error().code == ErrorCode::kInvalidArgument) {  // nothing of it has gone out
    listener.Put(Event::Type::kStatus, "error");
    listener.Put(ErrorEvent("ValueError", sent.error().message));
    return std::nullopt;
  }
  if (sent) {
    std::lock_guard lock(interrupt_mutex_);
    cell_is_there_ = true;
    if (interrupt_wanted_) (void)SendInterrupt();  // whoever asked for it was told that it is so
  } else if (!HasEnded()) {
    why_ended_ = sent.error().message;
    broken_ = true;
  }
  std::optional<Event> error;
  bool done = false;
  // What it said before it ended still counts; not for ever, what others go on to say for it.
  int reads_after_end = 0;
  std::size_t since_rest = 0;
  for (bool open = true; !done && !broken_;) {
    json message;
    const FrameReader::Step step = frames_.Next(&message);
    if (step == FrameReader::Step::kFrame) {
      broken_ = !Handle(std::move(message), listener, &done, &error);
      frame_began_.reset();
    } else if (step == FrameReader::Step::kBroken) {
      broken_ = true;
    } else if (!open) {
      break;
    } else {
      // Without room what it sends waits in the channel, and so does the session.
      const bool has_room = !frames_.WaitsForRoom();
      auto left = next_ping - std::chrono::steady_clock::now();
      if (!has_room) left = std::min<decltype(left)>(left, kRoomAgain);
      std::array<pollfd, 4> polled{{{channel_.get(), static_cast<short>(has_room ? POLLIN : 0), 0},
                                    {stdout_.pipe.get(), POLLIN, 0},
                                    {stderr_.pipe.get(), POLLIN, 0},
                                    {has_room ? status_.get() : -1, POLLIN, 0}}};
      const auto patience = std::chrono::ceil<milliseconds>(left).count();
      const int ready = ::poll(polled.data(), polled.size(),
                               static_cast<int>(std::clamp<std::int64_t>(patience, 0, 60'000)));
      if (ready == 0 && has_room) {
        // An end of its channel may be on its way in another one: that is no sign of life.
        open = box_.Alive();
        broken_ = StallsAFrame();
      } else if (ready > 0) {
        // What was written before a message is told before it: all of it is in the pipes once
        // the message is here. So the pipes are emptied between the look at what there is of
        // messages and the reading of just that.
        const std::size_t size = polled[0].revents != 0 ? Waiting(channel_.get()) : 0;
        since_rest += size + Drain(stdout_, listener) + Drain(stderr_, listener);
        if (polled[0].revents != 0) {
          open = has_room && ReadChannel(std::max<std::size_t>(size, 1));
        } else {
          broken_ = has_room && StallsAFrame();
        }
        if (polled[3].revents != 0) {
          open = open && polled[0].revents != 0 && ++reads_after_end < kReadsAfterEnd;
        }
      }
    }
    if (since_rest >= kPacedBytes) {
      if (!listener.listens()) std::this_thread::sleep_for(kPacedRest);
      since_rest = 0;
    }
    if (std::chrono::steady_clock::now() >= next_ping) {
      listener.Put(Event::Type::kPing, "pong");
      next_ping = std::chrono::steady_clock::now() + kPingEvery;
    }
  }
  for (Output* output : {&stdout_, &stderr_}) {
    Drain(*output, listener);
    if (!output->held.empty()) listener.Put(output->type, std::exchange(output->held, {}));
  }
  frames_.LetGo();
  std::optional<std::string> why;
  if (!done) {
    why = WhyEnded();
    error = ErrorEvent("ContextDied", *why);
  }
  oom_kills_seen_ = box_.Usage().oom_kills;
  if (error) {
    listener.Put(Event::Type::kStatus, "error");
    listener.Put(*error);
  }
  return why;
}

Result<std::unique_ptr<ContextSession>> ContextSession::Fork(Deadline deadline) {
  auto channel = NewChannel();
  auto in = NewPipe(false);
  auto out = NewPipe(true);
  auto err = NewPipe(true);
  for (const auto* ends : {&channel, &in, &out, &err}) {
    if (!*ends) return Fail(ErrorCode::kUnavailable, ends->error().message);
  }
  const std::array<int, 4> given{channel->far.get(), in->far.get(), out->far.get(), err->far.get()};
  if (auto sent = SendFrame(channel_.get(), {{"op", "fork"}}, deadline, given); !sent) {
    broken_ = true;  // after half a conversation nobody knows what the other half would be
    return Fail(sent.error());
  }
  for (auto* ends : {&channel, &in, &out, &err}) (*ends)->far.Reset();
  auto answer = NextFrame(deadline);
  if (!answer) {
    broken_ = true;
    return Fail(ErrorCode::kUnavailable, answer.error().message);
  }
  const std::string what = TextOf(*answer, "ev");
  if (what == "fork_failed") {
    return Fail(ErrorCode::kUnavailable, TextOf(*answer, "message"));
  }
  if (what != "forked") {
    broken_ = true;
    return Fail(ErrorCode::kUnavailable, WhyEnded());
  }
  sandbox::BoxProcess process;
  process.channel = std::move(channel->near);
  process.stdout_pipe = std::move(out->near);
  process.stderr_pipe = std::move(err->near);
  auto copy =
      std::make_unique<ContextSession>(std::move(process), box_, files_, clock_, frame_room_);
  if (auto ready = copy->AwaitReady(deadline); !ready) {
    copy->End();
    return Fail(ErrorCode::kUnavailable, "the copy: " + ready.error().message);
  }
  return copy;
}

bool ContextSession::HasEnded() {
  if (broken_) return true;
  std::array<pollfd, 2> polled{{{channel_.get(), POLLRDHUP, 0}, {status_.get(), POLLIN, 0}}};
  return ::poll(polled.data(), polled.size(), 0) > 0;
}

std::string ContextSession::WhyEnded() {
  if (ended_by_us_) return "deleted";
  if (why_ended_.empty()) why_ended_ = FindWhyEnded();
  return why_ended_;
}

std::string ContextSession::FindWhyEnded() {
  if (broken_) return "broke the rules of its channel";
  const bool out_of_memory = box_.Usage().oom_kills > oom_kills_seen_;
  pollfd polled{status_.get(), POLLIN, 0};
  while (status_ && ::poll(&polled, 1, static_cast<int>(kStatusPatience.count())) > 0) {
    sandbox::StatusMessage message;
    std::size_t fd_count = 0;
    if (sandbox::RecvPacket(status_.get(), &message, sizeof message, nullptr, &fd_count) !=
        sizeof message) {
      break;
    }
    if (message.kind == sandbox::StatusKind::kExited) {
      return DescribeExit(message.wait_status, out_of_memory);
    }
  }
  if (!box_.Alive()) return "the sandbox has ended";
  return out_of_memory ? "killed: out of memory" : "ended";
}

Result<void> ContextSession::Interrupt() {
  std::lock_guard lock(interrupt_mutex_);
  if (cell_is_there_) return SendInterrupt();
  interrupt_wanted_ = true;
  return {};
}

void ContextSession::ForgetInterrupt() {
  std::lock_guard lock(interrupt_mutex_);
  cell_is_there_ = false;
  interrupt_wanted_ = false;
}

Result<void> ContextSession::SendInterrupt() {
  const auto sent = files_.Signal(pid_, SIGINT, true);
  if (!sent && sent.error().code != ErrorCode::kNotFound) return Fail(sent.error());
  return {};
}

void ContextSession::HangUp() {
  ended_by_us_ = true;
  ::shutdown(channel_.get(), SHUT_RDWR);
}

bool ContextSession::Kill() {
  if (pid_ <= 0 || !box_.Alive()) return true;
  const auto killed = files_.Signal(pid_, SIGKILL, true);
  return killed || killed.error().code == ErrorCode::kNotFound;
}

void ContextSession::End() {
  HangUp();
  (void)Kill();
}

}  // namespace forkbox::execd
