// What the tests of RabbitMqBroker share: one server for all of them, and processes that die.
#pragma once

#include <sys/types.h>

#include <functional>

#include "base/unique_fd.h"
#include "tests/servers/rabbitmq/private_rabbitmq.h"

namespace forkbox::tests {

// Started at the first use; ends with the test executable.
PrivateRabbitMq& Server();

// A fork of this process that runs `body` and never comes back from it. Make it while this process
// has one thread only.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<void(const std::function<void()>& ready)>& body);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void WaitUntilReady() const;
  void Kill();  // -9

 private:
  UniqueFd ready_;
  pid_t pid_ = -1;
};

}  // namespace forkbox::tests
