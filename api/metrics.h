// Metrics: what the server counts, as Prometheus text.
//
// Zeroboot's names come first and in its order, so that its dashboard works; ours follow. What
// another part already counts (pool, queue, connections) is not counted twice but read at the
// moment of the scrape. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schema/execution.h"

namespace forkbox::api {

class Metrics {
 public:
  // Of the moment of the scrape.
  struct Readings {
    std::uint64_t pool_hits = 0;
    std::uint64_t pool_misses = 0;
    std::uint64_t pool_ready = 0;
    std::uint64_t http_connections = 0;
    struct Lane {
      std::string name;
      std::uint64_t waiting = 0;
      std::uint64_t running = 0;
      std::uint64_t limit = 0;  // of waiting; 0 is none
      std::chrono::milliseconds oldest_waiting{0};
    };
    std::vector<Lane> lanes;
    std::uint64_t runners = 0;
    std::uint64_t runner_slots = 0;
    std::uint64_t sandboxes = 0;  // that are up
    std::uint64_t webhooks_pending = 0;
    std::uint64_t webhooks_dead = 0;
    std::string_view vm_state = {};  // "ready"; "" where there are no virtual machines
    std::uint64_t vm_machines_ready = 0;
    bool queue_known = false;  // the store answered: without it, these five say nothing
    std::chrono::milliseconds uptime{0};
  };

  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Every accepted execution starts and finishes once. `language` must be a canonical id, `route`
  // a registered path: a client must not be able to invent label values.
  void ExecutionStarted();
  void ExecutionFinished(const std::string& language, const schema::Outcome& outcome);
  // Taken for later: its end is counted by nobody here. `delivery` as schema::ToString has it.
  void ExecutionAccepted(std::string_view delivery);
  // Started, but there is no outcome to tell: the store or the queue failed.
  void ExecutionFailed();

  void HttpRequest(std::string_view method, std::string_view route, int status);

  [[nodiscard]] std::string Render(const Readings& readings) const;

 private:
  struct Families;  // keeps prometheus-cpp out of this header
  std::unique_ptr<Families> families_;
};

// What Zeroboot calls it: "success" when the program ran to an end of its own, whatever its exit
// code; "timeout"; "error" for every other ending.
std::string_view ZerobootStatus(schema::Reason reason);

}  // namespace forkbox::api
