// Row: one line of the table of `make bench`.
//
// Every row is measured in several rounds that alternate with all others, so that a noisy moment
// touches all alike.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace forkbox::bench {

struct Row {
  std::string name;
  std::string yardstick;  // name of the row it is compared with
  std::size_t runs_a_round = 0;
  std::function<void()> prepare{};  // before each round, not measured
  // Makes that many runs and appends their latencies; returns how many failed.
  std::function<std::size_t(std::size_t runs, std::vector<double>* latencies)> run{};
  std::function<double()> cpu_ms{};  // of whatever does the work, ever growing

  std::vector<double> latencies{};
  std::size_t failed = 0;
  double wall_ms = 0;
  double cpu_used_ms = 0;

  [[nodiscard]] double Percentile(double share) const {
    if (latencies.empty()) return 0;
    std::vector<double> sorted = latencies;
    std::sort(sorted.begin(), sorted.end());
    const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
    return sorted[std::min(at, sorted.size() - 1)];
  }
  [[nodiscard]] double Runs() const { return static_cast<double>(latencies.size()); }
  [[nodiscard]] double Rate() const { return wall_ms > 0 ? 1000 * Runs() / wall_ms : 0; }
  [[nodiscard]] double CpuPerRun() const { return cpu_used_ms / std::max(1.0, Runs()); }
};

double MillisSince(std::chrono::steady_clock::time_point start);

// A command with a clean environment, `parallel` of them at a time.
Row CommandRow(std::string name, std::string yardstick, std::vector<std::string> command,
               std::size_t parallel, std::size_t runs);

// POSTs to a server of ours that must answer with `expected` somewhere in it. The processor time is
// that of all the processes named and of what they started.
Row HttpRow(std::string name, std::string yardstick, std::uint16_t port,
            std::vector<pid_t> processes, std::string path, std::string body, std::string expected,
            std::size_t clients, std::size_t runs);

// Measures all rows, a round of each after the other.
void Measure(std::vector<Row>& rows, std::size_t rounds);

// As a table in Markdown; false when a run failed.
bool Print(const std::vector<Row>& rows);

}  // namespace forkbox::bench
