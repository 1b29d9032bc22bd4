#include "tests/cluster/cluster.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "base/log.h"

namespace forkbox::tests {

PrivateRabbitMq& Cluster::rabbitmq() {
  static PrivateRabbitMq server;
  return server;
}

PrivatePostgres& Cluster::postgres() {
  static PrivatePostgres server;
  return server;
}

Cluster::Cluster() : database_url_(postgres().NewDatabase()), prefix_(rabbitmq().NewPrefix()) {}

store::Store& Cluster::store() {
  if (store_ == nullptr) {
    auto opened = store::OpenStore(database_url_, Log::Null());
    EXPECT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  return *store_;
}

Cluster::Process Cluster::Start(const char* role, Flags args, const std::string& broker_url,
                                const char* ready) {
  args.insert(args.begin(), {role, "--database", database_url_, "--broker", broker_url,
                             "--queue-prefix", prefix_});
  auto process = std::make_unique<ForkboxProcess>(directory_.path(), args);
  EXPECT_TRUE(process->WaitForOutput(ready)) << role << ": " << process->Stderr();
  return process;
}

std::uint16_t Cluster::BrokerPort() {
  const std::string url = rabbitmq().url();
  return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}

Cluster::Process Cluster::StartApi(const Flags& flags) {
  Flags args{"--listen", "127.0.0.1:0", "--webhook-allow", "127.0.0.0/8"};
  args.insert(args.end(), flags.begin(), flags.end());
  Process api = Start("api", std::move(args), rabbitmq().url(), "listens on");
  api_ports_.push_back(PortOf(*api));
  return api;
}

Cluster::Process Cluster::StartRunner(const Flags& flags, const Wire* broker_wire) {
  Flags args{"--pool-size", "2"};
  args.insert(args.end(), flags.begin(), flags.end());
  std::string url = rabbitmq().url();
  if (broker_wire != nullptr) {
    const std::string real = ":" + std::to_string(BrokerPort());
    url.replace(url.rfind(real), real.size(), ":" + std::to_string(broker_wire->port()));
  }
  Process runner = Start("runner", std::move(args), url, "is ready");
  for (const std::uint16_t port : api_ports_) {
    EXPECT_TRUE(Eventually([port] {
      const Answer queue = GetFrom(port, "/api/v1/queue");
      return queue.status == 0 || (queue.status == 200 && !queue.body["runners"].empty());
    }));
  }
  return runner;
}

Cluster::Process Cluster::StartWebhook(const Flags& flags) {
  Flags args{"--webhook-allow", "127.0.0.0/8"};
  args.insert(args.end(), flags.begin(), flags.end());
  return Start("webhook", std::move(args), rabbitmq().url(), "is ready");
}

std::uint16_t PortOf(ForkboxProcess& api) {
  const std::string url = api.WaitForUrl();
  const std::size_t colon = url.rfind(':');
  if (colon == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1)));
}

namespace {

Answer Ask(std::uint16_t port, testing::HttpRequest request) {
  Answer answer;
  answer.raw = testing::Fetch(port, request);
  answer.status = answer.raw.status;
  answer.body = nlohmann::json::parse(answer.raw.body, nullptr, false);
  return answer;
}

}  // namespace

Answer PostTo(std::uint16_t port, const std::string& path, const nlohmann::json& body) {
  return Ask(port, {"POST", path, {{"Content-Type", "application/json"}}, body.dump()});
}

Answer GetFrom(std::uint16_t port, const std::string& path) {
  return Ask(port, {"GET", path, {}, ""});
}

Answer RunPython(std::uint16_t port, const std::string& code, int timeout_seconds) {
  return PostTo(port, "/v1/exec",
                {{"language", "python"}, {"code", code}, {"timeout_seconds", timeout_seconds}});
}

Answer QueuePython(std::uint16_t port, const std::string& code, const std::string& webhook_url,
                   int timeout_seconds) {
  return PostTo(port, "/v1/code/execute/python",
                {{"code", code}, {"timeout", timeout_seconds}, {"webhook_url", webhook_url}});
}

bool Eventually(const std::function<bool()>& what, std::chrono::seconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (!what()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

}  // namespace forkbox::tests
