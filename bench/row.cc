#include "bench/row.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <thread>
#include <utility>

#include "bench/http_load.h"
#include "bench/process_tree.h"

namespace forkbox::bench {

using std::chrono::steady_clock;

double MillisSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

namespace {

double ChildrenCpuMillis() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto millis = [](const timeval& t) {
    return 1000.0 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1000.0;
  };
  return millis(usage.ru_utime) + millis(usage.ru_stime);
}

// Starts a command with a clean environment and its output thrown away; true if it exits with 0.
bool RunCommand(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  char path[] = "PATH=/usr/bin:/bin";
  char* envp[] = {path, nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const bool started = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), envp) == 0;
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return started && ::waitpid(pid, &status, 0) == pid && status == 0;
}

}  // namespace

Row CommandRow(std::string name, std::string yardstick, std::vector<std::string> command,
               std::size_t parallel, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [command = std::move(command), parallel](std::size_t n, std::vector<double>* out) {
    std::vector<std::vector<double>> mine(parallel);
    std::vector<std::size_t> bad(parallel);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < parallel; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < n / parallel; ++i) {
          const auto start = steady_clock::now();
          bad[t] += RunCommand(command) ? 0U : 1U;
          mine[t].push_back(MillisSince(start));
        }
      });
    }
    std::size_t failed = 0;
    for (std::size_t t = 0; t < parallel; ++t) {
      threads[t].join();
      out->insert(out->end(), mine[t].begin(), mine[t].end());
      failed += bad[t];
    }
    return failed;
  };
  row.cpu_ms = ChildrenCpuMillis;
  return row;
}

Row HttpRow(std::string name, std::string yardstick, std::uint16_t port,
            std::vector<pid_t> processes, std::string path, std::string body, std::string expected,
            std::size_t clients, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [=](std::size_t n, std::vector<double>* out) {
    LoadResult result = PostJson(port, path, body, expected, clients, n);
    out->insert(out->end(), result.latencies_ms.begin(), result.latencies_ms.end());
    return result.failed;
  };
  row.cpu_ms = [processes = std::move(processes)] {
    double total = 0;
    for (const pid_t process : processes) total += TreeCpuMillis(process);
    return total;
  };
  return row;
}

void Measure(std::vector<Row>& rows, std::size_t rounds) {
  for (std::size_t round = 0; round < rounds; ++round) {
    for (Row& row : rows) {
      if (row.prepare) row.prepare();
      // Pools refill, the last row's dead are buried.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const double cpu_before = row.cpu_ms();
      const auto start = steady_clock::now();
      row.failed += row.run(row.runs_a_round, &row.latencies);
      row.wall_ms += MillisSince(start);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      row.cpu_used_ms += row.cpu_ms() - cpu_before;
    }
  }
}

bool Print(const std::vector<Row>& rows) {
  std::printf("| | p50 ms | p99 ms | runs/s | CPU ms/run | p50, of bare | rate, of bare |\n");
  std::printf("|---|---|---|---|---|---|---|\n");
  for (const Row& row : rows) {
    const auto yardstick = std::find_if(rows.begin(), rows.end(), [&](const Row& candidate) {
      return candidate.name == row.yardstick;
    });
    char ratios[64] = "| |";
    if (yardstick != rows.end() && yardstick->Percentile(0.5) > 0) {
      std::snprintf(ratios, sizeof ratios, "| %.2f | %.2f |",
                    row.Percentile(0.5) / yardstick->Percentile(0.5),
                    row.Rate() / yardstick->Rate());
    }
    std::printf("| %s | %.2f | %.2f | %.0f | %.2f %s%s\n", row.name.c_str(), row.Percentile(0.5),
                row.Percentile(0.99), row.Rate(), row.CpuPerRun(), ratios,
                row.failed != 0 ? (" " + std::to_string(row.failed) + " FAILED").c_str() : "");
  }
  return std::none_of(rows.begin(), rows.end(), [](const Row& row) { return row.failed != 0; });
}

}  // namespace forkbox::bench
