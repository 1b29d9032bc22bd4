#include "runner/execd/box_identity.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace forkbox::execd {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kMaxAnswerBytes = 64;

}  // namespace

bool BoxIdentity::Allows(const std::optional<std::uint32_t>& uid,
                         const std::optional<std::uint32_t>& gid) {
  if (!uid && !gid) return true;
  const std::lock_guard lock(mutex_);
  if (!ids_ && (!again_ || steady_clock::now() >= *again_)) {
    ids_ = Ask();
    // Those who have waited behind this one do not wait for another as long.
    again_ = steady_clock::now() + patience_;
  }
  return ids_ && uid.value_or(ids_->uid) == ids_->uid && gid.value_or(ids_->gid) == ids_->gid;
}

std::optional<BoxIdentity::Ids> BoxIdentity::Ask() {
  if (asked_) {
    pollfd ended{asked_.get(), POLLIN, 0};
    if (::poll(&ended, 1, 0) == 0) return std::nullopt;
    asked_.Reset();
  }
  sandbox::BoxProgram program;
  program.command = {"/bin/sh", "-c", "/usr/bin/id -u; /usr/bin/id -g"};
  auto process = box_.Start(program);
  if (!process) return std::nullopt;
  auto ids = Read(process->stdout_pipe.get(), steady_clock::now() + patience_);
  if (!ids) {
    asked_ = std::move(process->status);
    (void)files_.Signal(process->pid, SIGKILL, true);
  }
  return ids;
}

std::optional<BoxIdentity::Ids> BoxIdentity::Read(int pipe, Deadline deadline) {
  // Whoever else may read this pipe must not make us wait for what it has taken.
  ::fcntl(pipe, F_SETFL, ::fcntl(pipe, F_GETFL) | O_NONBLOCK);
  std::string answer;
  std::array<char, kMaxAnswerBytes> piece{};
  while (answer.size() < kMaxAnswerBytes) {
    const ssize_t n = ::read(pipe, piece.data(), piece.size());
    if (n == 0) break;
    if (n > 0) {
      answer.append(piece.data(), static_cast<std::size_t>(n));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return std::nullopt;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    pollfd polled{pipe, POLLIN, 0};
    if (left <= 0) return std::nullopt;
    (void)::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
  }
  Ids ids;
  if (std::sscanf(answer.c_str(), "%u\n%u", &ids.uid, &ids.gid) != 2) return std::nullopt;
  return ids;
}

}  // namespace forkbox::execd
