// A cluster for tests: real RabbitMQ and PostgreSQL, the built program as so many processes, and
// the wires between them in our hand.
//
// Each Cluster has a database and queues of its own on servers that all tests of a process share.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/api/http_client.h"
#include "tests/cli/forkbox_process.h"
#include "tests/cluster/wire.h"
#include "tests/servers/postgres/private_postgres.h"
#include "tests/servers/rabbitmq/private_rabbitmq.h"

namespace forkbox::tests {

class Cluster {
 public:
  Cluster();

  using Process = std::unique_ptr<ForkboxProcess>;
  using Flags = std::vector<std::string>;

  // Each waits until the process says that it is ready, and for a runner until every API has heard
  // of one. A runner may get its messages by `wire`.
  Process StartApi(const Flags& flags = {});
  Process StartRunner(const Flags& flags = {}, const Wire* broker_wire = nullptr);
  Process StartWebhook(const Flags& flags = {});

  static PrivateRabbitMq& rabbitmq();
  static PrivatePostgres& postgres();
  static std::uint16_t BrokerPort();

  // The store, as another process of ours sees it.
  store::Store& store();

  [[nodiscard]] const std::string& database_url() const { return database_url_; }
  [[nodiscard]] const TemporaryDirectory& directory() const { return directory_; }

 private:
  Process Start(const char* role, Flags args, const std::string& broker_url, const char* ready);

  TemporaryDirectory directory_;
  std::string database_url_;
  std::string prefix_;
  std::vector<std::uint16_t> api_ports_;
  std::unique_ptr<store::Store> store_;
};

// Of an API process, the port its URL names.
std::uint16_t PortOf(ForkboxProcess& api);

struct Answer {
  int status = 0;  // 0: no answer
  nlohmann::json body;
  testing::HttpAnswer raw;
};
Answer PostTo(std::uint16_t port, const std::string& path, const nlohmann::json& body);
Answer GetFrom(std::uint16_t port, const std::string& path);

// One call that waits for its result, and one that does not.
Answer RunPython(std::uint16_t port, const std::string& code, int timeout_seconds = 60);
Answer QueuePython(std::uint16_t port, const std::string& code, const std::string& webhook_url,
                   int timeout_seconds = 60);

// Polls until it is true. False after `timeout`, which is meant never to be reached.
bool Eventually(const std::function<bool()>& what,
                std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace forkbox::tests
