#include "runner/execd/leftover_pipes.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include "runner/execd/pipe_reading.h"

namespace forkbox::execd {
namespace {

// Between two rounds: one that floods costs us some megabytes a second and not a processor.
constexpr std::chrono::milliseconds kPause{5};

}  // namespace

LeftoverPipes::~LeftoverPipes() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    const std::uint64_t one = 1;
    if (wake_) (void)!::write(wake_.get(), &one, sizeof one);
  }
  if (thread_.joinable()) thread_.join();
}

bool LeftoverPipes::Begin() {
  if (thread_.joinable()) return true;
  if (!wake_) wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return false;
  try {
    thread_ = std::thread([this] { Loop(); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

LeftoverPipes::Id LeftoverPipes::Add(UniqueFd pipe, Consumer consumer) {
  if (!pipe) return 0;
  SetNonBlocking(pipe.get());
  const std::lock_guard lock(mutex_);
  if (!Begin()) return 0;
  entries_.push_back({++last_id_, std::move(pipe), std::move(consumer)});
  if (entries_.size() > capacity_) entries_.pop_front();
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  return last_id_;
}

UniqueFd LeftoverPipes::Take(Id id) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(entries_, id, &Entry::id);
  if (found == entries_.end()) return {};
  UniqueFd pipe = std::move(found->pipe);
  entries_.erase(found);
  // The thread may be waiting for it: it must not spin on what is no longer its own.
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  return pipe;
}

void LeftoverPipes::Loop() {
  std::vector<char> buffer(kPipeReadBytes);
  std::vector<pollfd> polled;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      polled.assign(1, {wake_.get(), POLLIN, 0});
      for (const Entry& entry : entries_) polled.push_back({entry.pipe.get(), POLLIN, 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[0].revents != 0) {
      std::uint64_t count = 0;
      (void)!::read(wake_.get(), &count, sizeof count);
    }
    {
      // Whichever are here now: reading costs nothing where nothing has come.
      const std::lock_guard lock(mutex_);
      std::erase_if(entries_, [&](const Entry& entry) {
        return ReadOnce(entry.pipe.get(), buffer, [&](std::string_view bytes) {
                 if (entry.consumer) entry.consumer(bytes);
               }) == PipeState::kEnded;
      });
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace forkbox::execd
