#include "runner/execd/box_identity.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

namespace forkbox::execd {
namespace {

constexpr int kPatienceMs = 10'000;  // for each piece of an answer of two numbers
constexpr std::size_t kMaxAnswerBytes = 64;

}  // namespace

bool BoxIdentity::Allows(const std::optional<std::uint32_t>& uid,
                         const std::optional<std::uint32_t>& gid) {
  if (!uid && !gid) return true;
  const std::lock_guard lock(mutex_);
  if (!ids_) ids_ = Ask();
  return ids_ && uid.value_or(ids_->uid) == ids_->uid && gid.value_or(ids_->gid) == ids_->gid;
}

std::optional<BoxIdentity::Ids> BoxIdentity::Ask() {
  sandbox::BoxProgram program;
  program.command = {"/bin/sh", "-c", "/usr/bin/id -u; /usr/bin/id -g"};
  auto process = box_.Start(program);
  if (!process) return std::nullopt;
  std::string answer;
  std::array<char, kMaxAnswerBytes> piece{};
  while (answer.size() < kMaxAnswerBytes) {
    pollfd polled{process->stdout_pipe.get(), POLLIN, 0};
    if (::poll(&polled, 1, kPatienceMs) <= 0) return std::nullopt;
    const ssize_t n = ::read(polled.fd, piece.data(), piece.size());
    if (n <= 0) break;
    answer.append(piece.data(), static_cast<std::size_t>(n));
  }
  Ids ids;
  if (std::sscanf(answer.c_str(), "%u\n%u", &ids.uid, &ids.gid) != 2) return std::nullopt;
  return ids;
}

}  // namespace forkbox::execd
