#include "runner/execd/leftover_pipes.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "runner/execd/pipe_reading.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxPipes = 256;

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

void LeftoverPipes::Add(UniqueFd pipe, Consumer consumer) {
  if (!pipe) return;
  SetNonBlocking(pipe.get());
  const std::lock_guard lock(mutex_);
  added_.push_back({std::move(pipe), std::move(consumer)});
  if (!thread_.joinable()) {
    wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    FORKBOX_CHECK(wake_.valid());
    thread_ = std::thread([this] { Loop(); });
    return;
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void LeftoverPipes::Loop() {
  std::list<Entry> entries;
  std::vector<char> buffer(kPipeReadBytes);
  std::vector<pollfd> polled;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      entries.splice(entries.end(), added_);
    }
    while (entries.size() > kMaxPipes) entries.pop_front();
    polled.assign(1, {wake_.get(), POLLIN, 0});
    for (const Entry& entry : entries) polled.push_back({entry.pipe.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[0].revents != 0) {
      std::uint64_t count = 0;
      (void)!::read(wake_.get(), &count, sizeof count);
    }
    std::size_t at = 1;
    for (auto entry = entries.begin(); entry != entries.end(); ++at) {
      const bool ended = polled[at].revents != 0 &&
                         ReadOnce(entry->pipe.get(), buffer, [&](std::string_view bytes) {
                           if (entry->consumer) entry->consumer(bytes);
                         }) == PipeState::kEnded;
      entry = ended ? entries.erase(entry) : std::next(entry);
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace forkbox::execd
