// make bench: what a run costs, beside what it would cost without us, in one run on one machine.
//
// Every row is measured in several rounds that alternate with all others, so that a noisy moment
// touches all alike; compare ratios, not milliseconds, between machines.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "bench/http_load.h"
#include "bench/process_tree.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

double MillisSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

struct Row {
  std::string name;
  std::string yardstick;  // name of the row it is compared with
  std::size_t runs_a_round = 0;
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

Row EngineRow(std::string name, std::string yardstick, sandbox::ProcessDriver* driver,
              std::string language, std::string code, bool pooled, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [=, disk = std::uint64_t{64} << 20](std::size_t n, std::vector<double>* out) mutable {
    std::size_t failed = 0;
    schema::Source source;
    source.code = code;
    for (std::size_t i = 0; i < n; ++i) {
      schema::Limits limits;
      // Limits that no fork was made for make a miss; a pause lets the pool refill for a hit.
      if (!pooled) limits.disk_bytes = disk += 4096;
      const std::uint64_t hits = driver->Stats().pool_hits;
      const auto start = steady_clock::now();
      auto fork = driver->ForkFor(language, limits, code);
      const schema::Outcome outcome = fork ? (*fork)->Run(source, {}) : schema::Outcome{};
      const double took = MillisSince(start);
      if (outcome.stdout_text != "2\n") ++failed;
      if (pooled && driver->Stats().pool_hits == hits) continue;  // belongs to the other row
      out->push_back(took);
      if (pooled) std::this_thread::sleep_for(milliseconds(8));
    }
    return failed;
  };
  row.cpu_ms = [driver] { return TreeCpuMillis(driver->forkserver_pid()); };
  return row;
}

Row HttpRow(std::string name, std::string yardstick, std::uint16_t port, pid_t server,
            std::string body, std::size_t clients, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [=](std::size_t n, std::vector<double>* out) {
    LoadResult result = PostJson(port, "/v1/exec", body, R"("stdout":"2\n")", clients, n);
    out->insert(out->end(), result.latencies_ms.begin(), result.latencies_ms.end());
    return result.failed;
  };
  row.cpu_ms = [server] { return TreeCpuMillis(server); };
  return row;
}

// Free a moment ago; nobody else picks ports on a machine that is being measured.
std::uint16_t FreePort() {
  const UniqueFd probe(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  (void)::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size);
  (void)::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

// `forkbox serve` on the embedded default, in a folder of its own.
class Server {
 public:
  Server() {
    char folder[] = "/tmp/forkbox-bench-XXXXXX";
    folder_ = ::mkdtemp(folder);
    port_ = FreePort();
    const std::string listen = "127.0.0.1:" + std::to_string(port_);
    std::string data = folder_ + "/data";
    std::vector<std::string> command{FORKBOX_BINARY, "serve", "--listen",    listen,
                                     "--data-dir",   data,    "--log-level", "error"};
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    char* envp[] = {nullptr};
    if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp) != 0) pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    const auto give_up = steady_clock::now() + std::chrono::seconds(60);
    while (!Answers(port_, "/v1/health") && steady_clock::now() < give_up) {
      std::this_thread::sleep_for(milliseconds(50));
    }
  }
  ~Server() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  std::string folder_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

void Print(const std::vector<Row>& rows) {
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
}

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::size_t scale = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 40;
  const std::size_t rounds = 5;
  auto started = sandbox::ProcessDriver::Start({.forkserver_path = FORKBOX_FORKSERVER,
                                                .runtime_dir = FORKBOX_RUNTIME,
                                                .pool_size = 4,
                                                .log = Log(STDERR_FILENO, LogLevel::kWarn)});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
    return 1;
  }
  sandbox::ProcessDriver& driver = **started;
  if (auto opened = driver.Open(steady_clock::now() + std::chrono::seconds(60)); !opened) {
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    return 1;
  }
  const Server server;

  const std::string python = "print(1+1)";
  const std::string python_body = R"json({"code":"print(1+1)"})json";
  const std::string node = "console.log(1+1)";
  const std::string node_body = R"json({"code":"console.log(1+1)","language":"node"})json";
  const std::string bare = "bare python3 -c";
  const std::string bare_node = "bare node -e";
  std::vector<Row> rows;
  rows.push_back(CommandRow(bare, bare, {"/usr/bin/python3", "-c", python}, 1, scale));
  rows.push_back(CommandRow(bare + ", 2 at once", bare + ", 2 at once",
                            {"/usr/bin/python3", "-c", python}, 2, scale));
  if (::access("/usr/bin/bwrap", X_OK) == 0) {
    rows.push_back(CommandRow("bubblewrap + python3", bare,
                              {"/usr/bin/bwrap",
                               "--ro-bind",
                               "/usr",
                               "/usr",
                               "--symlink",
                               "usr/lib",
                               "/lib",
                               "--symlink",
                               "usr/lib64",
                               "/lib64",
                               "--proc",
                               "/proc",
                               "--dev",
                               "/dev",
                               "--tmpfs",
                               "/tmp",
                               "--unshare-all",
                               "--die-with-parent",
                               "/usr/bin/python3",
                               "-c",
                               python},
                              1, scale));
  }
  rows.push_back(EngineRow("engine, python, pooled", bare, &driver, "python", python, true, scale));
  rows.push_back(
      EngineRow("engine, python, unpooled", bare, &driver, "python", python, false, scale));
  rows.push_back(EngineRow("engine, bash, pooled", bare, &driver, "bash", "echo 2", true, scale));
  rows.push_back(HttpRow("HTTP, python, 1 client", bare, server.port(), server.pid(), python_body,
                         1, scale * 3));
  rows.push_back(HttpRow("HTTP, python, 8 clients", bare + ", 2 at once", server.port(),
                         server.pid(), python_body, 8, scale * 6));
  rows.push_back(HttpRow("HTTP, python, 32 clients", bare + ", 2 at once", server.port(),
                         server.pid(), python_body, 32, scale * 6));
  if (::access(FORKBOX_NODE, X_OK) == 0) {
    rows.push_back(CommandRow(bare_node, bare_node, {FORKBOX_NODE, "-e", node}, 1, scale));
    rows.push_back(CommandRow(bare_node + ", 2 at once", bare_node + ", 2 at once",
                              {FORKBOX_NODE, "-e", node}, 2, scale));
    rows.push_back(
        EngineRow("engine, node, pooled", bare_node, &driver, "javascript", node, true, scale));
    rows.push_back(HttpRow("HTTP, node, 1 client", bare_node, server.port(), server.pid(),
                           node_body, 1, scale * 3));
    rows.push_back(HttpRow("HTTP, node, 8 clients", bare_node + ", 2 at once", server.port(),
                           server.pid(), node_body, 8, scale * 6));
  }

  for (std::size_t round = 0; round < rounds; ++round) {
    for (Row& row : rows) {
      std::this_thread::sleep_for(
          milliseconds(100));  // pools refill, the last row's dead are buried
      const double cpu_before = row.cpu_ms();
      const auto start = steady_clock::now();
      row.failed += row.run(row.runs_a_round, &row.latencies);
      row.wall_ms += MillisSince(start);
      std::this_thread::sleep_for(milliseconds(100));
      row.cpu_used_ms += row.cpu_ms() - cpu_before;
    }
  }
  Print(rows);
  const bool failed =
      std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.failed != 0; });
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace forkbox::bench

int main(int argc, char** argv) { return forkbox::bench::Main(argc, argv); }
