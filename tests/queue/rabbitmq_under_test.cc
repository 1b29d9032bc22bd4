#include "tests/queue/rabbitmq_under_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"

namespace forkbox::tests {

PrivateRabbitMq& Server() {
  static PrivateRabbitMq server;
  return server;
}

ChildProcess::ChildProcess(const std::function<void(const std::function<void()>& ready)>& body) {
  int ends[2];
  FORKBOX_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  ready_.Reset(ends[0]);
  UniqueFd in(ends[1]);
  pid_ = ::fork();
  FORKBOX_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
      body([&] { FORKBOX_CHECK(::write(in.get(), "!", 1) == 1); });
    }
    ::_exit(1);
  }
}

ChildProcess::~ChildProcess() { Kill(); }

void ChildProcess::WaitUntilReady() const {
  char byte = 0;
  FORKBOX_CHECK(::read(ready_.get(), &byte, 1) == 1);
}

void ChildProcess::Kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  FORKBOX_CHECK(::waitpid(std::exchange(pid_, -1), nullptr, 0) > 0);
}

}  // namespace forkbox::tests
