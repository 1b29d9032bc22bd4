#include "runner/execd/pty/pty_relay.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "runner/execd/pty/pty_wire.h"

namespace forkbox::execd {
namespace {

// While nobody has the terminal open it is always ready and says nothing: looked at so often.
constexpr int kHungUpLookMs = 50;

// Of what is in the terminal when the program has ended: the kernel holds less for one reader.
constexpr std::size_t kLastBytes = 1U << 20;

constexpr int kMessagesAtOnce = 64;

bool ForNow(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

bool PtyRelay::Fill(int fd, Waiting* waiting) {
  const ssize_t n = ::read(fd, waiting->bytes.data(), waiting->bytes.size());
  waiting->begin = 0;
  waiting->end = n > 0 ? static_cast<std::size_t>(n) : 0;
  return n > 0;
}

bool PtyRelay::Drain(Waiting* waiting, int fd) {
  const std::string_view rest = waiting->view();
  const ssize_t n = ::write(fd, rest.data(), rest.size());
  if (n > 0) waiting->begin += static_cast<std::size_t>(n);
  if (n >= 0 || ForNow(errno)) return true;
  waiting->begin = waiting->end;
  return false;
}

void PtyRelay::SignalProgram(int number) const {
  // Its group is there once it has begun its session.
  if (::kill(-program_, number) != 0) ::kill(program_, number);
}

void PtyRelay::TakeMessages() {
  for (int i = 0; i < kMessagesAtOnce && channel_open_; ++i) {
    PtyMessage message;
    const ssize_t n = ::recv(channel_, &message, sizeof message, MSG_DONTWAIT);
    if (n < 0 && ForNow(errno)) return;
    if (n <= 0) {
      channel_open_ = false;
      if (!ended_) SignalProgram(SIGKILL);
      return;
    }
    if (n != sizeof message) continue;
    if (message.kind == PtyMessageKind::kResize) {
      winsize size{};
      size.ws_col = message.first;
      size.ws_row = message.second;
      (void)::ioctl(master_, TIOCSWINSZ, &size);
    } else if (message.kind == PtyMessageKind::kKey && !ended_) {
      const int number = message.first;
      if (::ioctl(master_, TIOCSIG, number) != 0) SignalProgram(number);
    } else if (message.kind == PtyMessageKind::kSignal && !ended_) {
      SignalProgram(message.first);
    }
  }
}

void PtyRelay::LookForEnd() {
  signalfd_siginfo info;  // NOLINT: filled by read
  while (::read(signals_, &info, sizeof info) == sizeof info) {
  }
  int status = 0;
  if (!ended_ && ::waitpid(program_, &status, WNOHANG) == program_) {
    ended_ = true;
    wait_status_ = status;
  }
}

int PtyRelay::Run() {
  bool hung_up = false;
  std::size_t last_bytes = 0;
  for (;;) {
    if (ended_ && !channel_open_) return wait_status_;
    if (ended_ && shown_.empty()) {
      // One look more at the terminal for what the program has left in it.
      if (!output_open_ || last_bytes >= kLastBytes) return wait_status_;
      if (!Fill(master_, &shown_)) return wait_status_;
      last_bytes += shown_.view().size();
    }
    short wanted = 0;
    if (shown_.empty() && !ended_) wanted |= POLLIN;
    if (!typed_.empty()) wanted |= POLLOUT;
    std::array<pollfd, 5> polled{
        {{channel_open_ ? channel_ : -1, POLLIN, 0},
         {ended_ ? -1 : signals_, POLLIN, 0},
         {input_open_ && typed_.empty() && !ended_ ? STDIN_FILENO : -1, POLLIN, 0},
         {wanted == 0 || hung_up ? -1 : master_, wanted, 0},
         {shown_.empty() ? -1 : STDOUT_FILENO, POLLOUT, 0}}};
    const int ready = ::poll(polled.data(), polled.size(), hung_up ? kHungUpLookMs : -1);
    hung_up = false;
    if (ready < 0) continue;

    if (polled[4].revents != 0) output_open_ = Drain(&shown_, STDOUT_FILENO) && output_open_;
    if ((polled[3].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && shown_.empty()) {
      const bool came = Fill(master_, &shown_);
      hung_up = !came && (polled[3].revents & (POLLHUP | POLLERR)) != 0;
    }
    if ((polled[3].revents & POLLOUT) != 0 && !typed_.empty()) (void)Drain(&typed_, master_);
    // After what was shown before; and before what was typed after: a new size counts for it.
    TakeMessages();
    if (polled[2].revents != 0) {
      errno = 0;
      if (!Fill(STDIN_FILENO, &typed_) && !ForNow(errno)) input_open_ = false;
    }
    if (polled[1].revents != 0) LookForEnd();
  }
}

}  // namespace forkbox::execd
