// ClusterBench: the same calls over RabbitMQ and PostgreSQL, and where their time goes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/row.h"
#include "bench/server.h"

namespace forkbox::bench {

class ClusterBench {
 public:
  // Private servers, two APIs (one cluster of one runner, one of two) and their runners, all below
  // `folder`. Null when RabbitMQ or PostgreSQL are not installed or something does not start.
  static std::unique_ptr<ClusterBench> Start(const std::string& folder);

  // `single` and `pair` are the yardsticks of one client and of many.
  void AddRows(std::vector<Row>& rows, const std::string& single, const std::string& pair,
               std::size_t scale);

  // After Measure(): the parts of one synchronous call, each measured by itself.
  void PrintShares(const std::vector<Row>& rows) const;

  ~ClusterBench();

 private:
  struct Cluster {
    std::string database_url;
    std::uint16_t port = 0;
    std::vector<pid_t> processes;
  };

  explicit ClusterBench(std::string folder) : folder_(std::move(folder)) {}
  bool StartServers();
  bool StartCluster(const std::string& name, int runners);

  const std::string folder_;
  std::string broker_url_;
  std::uint16_t postgres_port_ = 0;
  std::vector<Cluster> clusters_;
  std::size_t call_row_ = 0;                      // of the rows: one client, one runner
  std::vector<std::unique_ptr<Server>> servers_;  // in the order of their start
};

}  // namespace forkbox::bench
