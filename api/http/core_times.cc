// What Core does by the clock, and how it comes to its end.

#include <mutex>
#include <thread>
#include <utility>

#include "api/http/core.h"

namespace forkbox::http {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

void Core::CheckTimes() {
  for (const auto& connection : hub_.Snapshot()) {
    try {
      CheckTimes(connection);
    } catch (...) {  // out of memory for a refusal
      std::lock_guard lock(connection->mutex);
      connection->Kill();
    }
  }
}

void Core::CheckTimes(const std::shared_ptr<Connection>& connection) {
  const Limits& limits = options_.limits;
  std::unique_lock lock(connection->mutex);
  Connection& c = *connection;
  if (c.gone) return;
  if (c.take_due && !c.paused && !c.closing) c.reader->Call(connection);
  const auto now = steady_clock::now();
  if (!c.output.empty()) {
    if (now - c.last_output > limits.write_gap_timeout) c.Kill();
    return;
  }
  if (c.in_flight) return;  // a reply takes as long as it takes
  if (c.closing) {
    if (now - c.closing_began > c.linger.time) c.Kill();
    return;
  }
  switch (c.phase) {
    case RequestParser::Phase::kIdle:
      if (now - c.phase_began > limits.idle_timeout) c.Kill();
      return;
    case RequestParser::Phase::kHead:
      if (now - c.phase_began > limits.head_timeout) {
        Refuse(connection, std::move(lock), {408, "the request head took too long"});
      }
      return;
    case RequestParser::Phase::kBody:
      if (now - c.last_input > limits.body_gap_timeout ||
          now - c.phase_began > limits.body_total_timeout) {
        Refuse(connection, std::move(lock), {408, "the request body took too long"});
      }
      return;
  }
}

std::size_t Core::Drain(milliseconds timeout) {
  draining_ = true;
  hub_.RefuseNew();
  const auto end = steady_clock::now() + timeout;
  for (;;) {
    std::size_t busy = 0;
    for (const auto& connection : hub_.Snapshot()) {
      std::lock_guard lock(connection->mutex);
      if (connection->gone) continue;
      // An upload that has begun gets its time too; a head cannot have cost the client much.
      if (connection->in_flight || !connection->output.empty() ||
          connection->phase == RequestParser::Phase::kBody) {
        ++busy;
      } else {
        connection->Kill();
      }
    }
    if (busy == 0 || steady_clock::now() >= end) return busy;
    std::this_thread::sleep_for(milliseconds(10));
  }
}

void Core::CutAll() {
  draining_ = true;
  hub_.RefuseNew();
  for (const auto& connection : hub_.Snapshot()) {
    std::lock_guard lock(connection->mutex);
    connection->Kill();
  }
  const auto end = steady_clock::now() + milliseconds(1000);
  while (hub_.size() != 0 && steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(2));
  }
}

void Core::CloseAll() {
  for (const auto& connection : hub_.Snapshot()) OnDisconnect(connection);
  // A thread may be between its answer and the record of it; it needs nobody to get there.
  while (in_flight_ != 0) std::this_thread::sleep_for(milliseconds(1));
  closed_ = true;
  while (entered_ != 0) std::this_thread::sleep_for(milliseconds(1));
}

}  // namespace forkbox::http
