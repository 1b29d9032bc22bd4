#include "runner/sandboxes/daemon_ender.h"

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

namespace forkbox::sandboxes {

struct DaemonEnder::Shared {
  using Waiting = std::list<std::unique_ptr<execd::Daemon>>;

  // `one`: its element was made when the Daemon was, since nothing may fail here.
  void LetGo(Waiting one) {
    {
      const std::lock_guard lock(mutex);
      if (open) {
        waiting.splice(waiting.end(), one);
        ++let_go;
      }
    }
    changed.notify_all();
  }

  // Ends the first that waits. `lock` is free meanwhile.
  void EndOne(std::unique_lock<std::mutex>& lock) {
    Waiting one;
    one.splice(one.end(), waiting, waiting.begin());
    lock.unlock();
    one.clear();
    lock.lock();
    ++ended;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable_any changed;
  Waiting waiting;           // by mutex, as all below
  std::uint64_t let_go = 0;  // all that ever waited
  std::uint64_t ended = 0;   // of those
  bool open = false;         // there is a thread for them
};

class DaemonEnder::Thread {
 public:
  explicit Thread(Shared& shared)
      : thread_([&shared](const std::stop_token& stop) {
          std::unique_lock lock(shared.mutex);
          while (shared.changed.wait(lock, stop, [&] { return !shared.waiting.empty(); })) {
            shared.EndOne(lock);
          }
        }) {}

 private:
  std::jthread thread_;
};

DaemonEnder::DaemonEnder() : shared_(std::make_shared<Shared>()) {}
DaemonEnder::~DaemonEnder() { Stop(); }

Result<void> DaemonEnder::Start() {
  try {
    thread_ = std::make_unique<Thread>(*shared_);
  } catch (const std::system_error& error) {
    return Fail(ErrorCode::kUnavailable, std::string("no thread: ") + error.what());
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->open = true;
  return {};
}

void DaemonEnder::Stop() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->open = false;
  }
  Flush();
  thread_.reset();
}

std::shared_ptr<execd::Daemon> DaemonEnder::Own(std::unique_ptr<execd::Daemon> daemon) {
  auto one = std::make_shared<Shared::Waiting>();
  one->push_back(std::move(daemon));
  execd::Daemon* const raw = one->front().get();
  return {raw, [shared = shared_, one = std::move(one)](execd::Daemon*) {
            shared->LetGo(std::move(*one));
          }};
}

void DaemonEnder::Flush() {
  std::unique_lock lock(shared_->mutex);
  const std::uint64_t until = shared_->let_go;
  while (!shared_->waiting.empty() && shared_->ended < until) shared_->EndOne(lock);
  shared_->changed.wait(lock, [&] { return shared_->ended >= until; });
}

}  // namespace forkbox::sandboxes
