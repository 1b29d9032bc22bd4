#include "runner/languages/node/interrupts.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>

namespace forkbox::javascript {
namespace {

using namespace std::chrono_literals;

// How long the loop has to come to an interrupt by itself. What it is busy with is terminated then,
// and again as long as it does not come: code in `finally` blocks is not run by that, but what is
// called next may be as busy.
constexpr auto kPatience = 50ms;

int signalled = -1;  // an eventfd, for the handler
std::atomic<bool> received = false;

void OnSignal(int /*signal*/) {
  const int kept = errno;
  received = true;
  const std::uint64_t one = 1;
  (void)!::write(signalled, &one, sizeof one);
  errno = kept;
}

}  // namespace

void Interrupts::Arm() {
  struct sigaction action {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
}

bool Interrupts::Pending() { return received; }

Result<void> Interrupts::Start(v8::Isolate* isolate, uv_loop_t* loop, int channel,
                               v8::Local<v8::Function> handler) {
  signalled = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signalled < 0) return FailErrno("eventfd");
  auto* const self = new Interrupts;
  self->isolate_ = isolate;
  self->channel_ = channel;
  self->handler_.Reset(isolate, handler);
  if (uv_async_init(loop, &self->async_, [](uv_async_t* async) {
        static_cast<Interrupts*>(async->data)->Handled();
      }) != 0) {
    return Fail(ErrorCode::kUnavailable, "no wake-up for the loop");
  }
  self->async_.data = self;
  uv_unref(reinterpret_cast<uv_handle_t*>(&self->async_));

  // The thread takes no signals itself.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([self] { self->Watch(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  Arm();
  return {};
}

void Interrupts::Watch() {
  for (;;) {
    std::array<pollfd, 2> polled{{{signalled, POLLIN, 0}, {channel_, POLLRDHUP, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[1].revents != 0) ::_exit(0);
    std::uint64_t count = 0;
    if (::read(signalled, &count, sizeof count) == sizeof count) Deliver();
  }
}

void Interrupts::Deliver() {
  std::unique_lock lock(mutex_);
  pending_ = true;
  uv_async_send(&async_);
  while (!handled_.wait_for(lock, kPatience, [this] { return !pending_; })) {
    isolate_->TerminateExecution();
    pollfd channel{channel_, POLLRDHUP, 0};
    if (::poll(&channel, 1, 0) > 0) ::_exit(0);
  }
}

// On the main thread, from the loop: no JavaScript is on the stack.
void Interrupts::Handled() {
  {
    const std::lock_guard lock(mutex_);
    pending_ = false;
    received = false;
    isolate_->CancelTerminateExecution();
  }
  handled_.notify_all();
  const v8::HandleScope scope(isolate_);
  const v8::Local<v8::Function> handler = handler_.Get(isolate_);
  const v8::Context::Scope entered(handler->GetCreationContextChecked());
  (void)node::MakeCallback(isolate_, v8::Object::New(isolate_), handler, 0, nullptr, {0, 0})
      .IsEmpty();
}

}  // namespace forkbox::javascript
