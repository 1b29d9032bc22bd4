// PrivateRabbitMq: a real RabbitMQ of the test's own (scripts/private-rabbitmq.sh), on loopback and
// in a directory that goes with it. Starting takes 3 to 10 s: share one per executable and give
// each test a NewPrefix() for its queues.
//
// One thread, and one that lives as long as this: the server ends when it does. Whatever does not
// do its part ends the test process; the reason is on standard error.
#pragma once

#include <sys/types.h>

#include <string>

#include "tests/servers/server_script.h"

namespace forkbox::tests {

class PrivateRabbitMq {
 public:
  PrivateRabbitMq();

  [[nodiscard]] std::string url() const;
  // For the names of queues that nobody else has.
  std::string NewPrefix();

  // As a crash: kill -9. Nothing listens afterwards.
  void Kill() { script_.Kill(); }
  void Stop() { script_.Stop(); }
  // After Kill() or Stop(), on the same port and data.
  void Restart() { script_.Start(); }
  // As a machine that hangs.
  void Freeze() const;
  void Thaw() const;

  // The broker believes that it is out of memory, and reads from no publisher until that is over.
  void RaiseMemoryAlarm() const;
  void ClearMemoryAlarm() const;
  // As an operator by mistake.
  void DeleteQueue(const std::string& name) const;
  // An Erlang expression within the broker; what it is worth, printed.
  std::string Eval(const std::string& expression) const;

 private:
  ServerScript script_;
  int prefixes_ = 0;
};

}  // namespace forkbox::tests
