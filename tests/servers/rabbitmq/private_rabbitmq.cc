#include "tests/servers/rabbitmq/private_rabbitmq.h"

#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/check.h"

namespace forkbox::tests {
namespace {

constexpr int kPorts = 10;  // what the script takes

}  // namespace

PrivateRabbitMq::PrivateRabbitMq()
    : script_(FORKBOX_PRIVATE_RABBITMQ, ServerScript::FreePorts(kPorts)) {
  script_.Start();
}

std::string PrivateRabbitMq::url() const {
  return "amqp://forkbox:forkbox@127.0.0.1:" + std::to_string(script_.port()) + "/";
}

std::string PrivateRabbitMq::NewPrefix() { return "test" + std::to_string(++prefixes_) + "."; }

void PrivateRabbitMq::Freeze() const {
  FORKBOX_CHECK(::kill(script_.server(), SIGSTOP) == 0);
  // Its threads stop one after the other.
  const auto stopped = [](const std::filesystem::path& thread) {
    std::ifstream in(thread / "stat");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return text.substr(text.rfind(')') + 1, 3) == " T ";
  };
  const std::string threads = "/proc/" + std::to_string(script_.server()) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(threads)) {
    while (!stopped(thread.path())) std::this_thread::yield();
  }
}
void PrivateRabbitMq::Thaw() const { FORKBOX_CHECK(::kill(script_.server(), SIGCONT) == 0); }

void PrivateRabbitMq::RaiseMemoryAlarm() const {
  Eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).");
}

void PrivateRabbitMq::ClearMemoryAlarm() const {
  Eval("rabbit_alarm:clear_alarm({resource_limit, memory, node()}).");
}

void PrivateRabbitMq::DeleteQueue(const std::string& name) const {
  Eval("{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"" + name +
       "\">>)), {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<\"test\">>).");
}

std::string PrivateRabbitMq::Eval(const std::string& expression) const {
  FORKBOX_CHECK(expression.find('\'') == std::string::npos);
  const std::string command = script_.directory().string() + "/ctl eval '" + expression + "'";
  FILE* const pipe = ::popen(command.c_str(), "re");
  FORKBOX_CHECK(pipe != nullptr);
  std::string said;
  char buffer[256];
  while (const std::size_t size = ::fread(buffer, 1, sizeof buffer, pipe))
    said.append(buffer, size);
  FORKBOX_CHECK(::pclose(pipe) == 0);
  return said;
}

}  // namespace forkbox::tests
