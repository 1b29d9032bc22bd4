// make bench: what a run costs, beside what it would cost without us, in one run on one machine.
// Compare ratios, not milliseconds, between machines.

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/cluster_bench.h"
#include "bench/events_bench.h"
#include "bench/go_bench.h"
#include "bench/history_bench.h"
#include "bench/process_tree.h"
#include "bench/row.h"
#include "bench/sandbox_bench.h"
#include "bench/server.h"
#include "bench/typescript_bench.h"
#include "runner/sandbox/compiling_driver.h"
#include "runner/sandbox/transpiler.h"

namespace forkbox::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Row EngineRow(std::string name, std::string yardstick, sandbox::CompilingDriver* driver,
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

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::size_t scale = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 40;
  const std::string only = argc > 2 ? argv[2] : "";  // rows with this in their name, and no cluster
  const std::size_t rounds = 5;
  auto started = sandbox::ProcessDriver::Start({.forkserver_path = FORKBOX_FORKSERVER,
                                                .runtime_dir = FORKBOX_RUNTIME,
                                                .pool_size = 4,
                                                .log = Log(STDERR_FILENO, LogLevel::kWarn)});
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
    return 1;
  }
  sandbox::CompilingDriver driver(std::move(*started), {});
  driver.SetCompiler("typescript", std::make_unique<sandbox::Transpiler>(
                                       driver.process(), sandbox::TranspilerOptions{}));
  if (auto opened = driver.Open(steady_clock::now() + std::chrono::seconds(60)); !opened) {
    std::fprintf(stderr, "%s\n", opened.error().message.c_str());
    return 1;
  }
  const Folder folder;
  const std::uint16_t port = FreePort();
  Server server({FORKBOX_BINARY, "serve", "--listen", "127.0.0.1:" + std::to_string(port),
                 "--data-dir", folder.path() + "/data", "--log-level", "error", "--vm", "off"},
                folder.path() + "/serve.out");
  if (!server.WaitFor("listens on")) {
    std::fprintf(stderr, "forkbox serve did not start\n");
    return 1;
  }
  const std::vector<pid_t> embedded{server.pid()};

  const std::string python = "print(1+1)";
  const std::string python_body = R"json({"code":"print(1+1)"})json";
  const std::string node = "console.log(1+1)";
  const std::string node_body = R"json({"code":"console.log(1+1)","language":"node"})json";
  const std::string expected = R"("stdout":"2\n")";
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
  rows.push_back(HttpRow("HTTP, python, 1 client", bare, port, embedded, "/v1/exec", python_body,
                         expected, 1, scale * 3));
  rows.push_back(HttpRow("HTTP, python, 8 clients", bare + ", 2 at once", port, embedded,
                         "/v1/exec", python_body, expected, 8, scale * 6));
  rows.push_back(HttpRow("HTTP, python, 32 clients", bare + ", 2 at once", port, embedded,
                         "/v1/exec", python_body, expected, 32, scale * 6));
  if (::access(FORKBOX_NODE, X_OK) == 0) {
    rows.push_back(CommandRow(bare_node, bare_node, {FORKBOX_NODE, "-e", node}, 1, scale));
    rows.push_back(CommandRow(bare_node + ", 2 at once", bare_node + ", 2 at once",
                              {FORKBOX_NODE, "-e", node}, 2, scale));
    rows.push_back(
        EngineRow("engine, node, pooled", bare_node, &driver, "javascript", node, true, scale));
    rows.push_back(HttpRow("HTTP, node, 1 client", bare_node, port, embedded, "/v1/exec", node_body,
                           expected, 1, scale * 3));
    rows.push_back(HttpRow("HTTP, node, 8 clients", bare_node + ", 2 at once", port, embedded,
                           "/v1/exec", node_body, expected, 8, scale * 6));
  }

  rows.push_back(EventsRow("events, python prints → client reads", bare, port, embedded, scale));
  AddTypescriptRows(rows, driver, folder.path(), port, embedded, scale);
  AddGoRows(rows, driver, folder.path(), port, embedded, scale);
  std::unique_ptr<SandboxBench> sandboxes = SandboxBench::Start(port, embedded, folder.path());
  if (sandboxes != nullptr) sandboxes->AddRows(rows, bare, scale);
  std::unique_ptr<HistoryBench> history;
  if (only.empty() || only == "history") history = HistoryBench::Start(folder.path());
  if (history != nullptr) history->AddRows(rows, scale);

  std::unique_ptr<ClusterBench> cluster;
  if (only.empty()) cluster = ClusterBench::Start(folder.path());
  if (!only.empty()) {
    std::erase_if(rows, [&](const Row& row) { return row.name.find(only) == row.name.npos; });
  } else if (cluster != nullptr) {
    cluster->AddRows(rows, bare, bare + ", 2 at once", scale);
  } else {
    std::printf("no RabbitMQ or PostgreSQL here: their rows are left out\n\n");
  }

  Measure(rows, rounds);
  const bool good = Print(rows);
  if (cluster != nullptr) cluster->PrintShares(rows);
  if (sandboxes != nullptr && (only.empty() || only == "sandbox")) sandboxes->PrintIdleMemory();
  return good ? 0 : 1;
}

}  // namespace
}  // namespace forkbox::bench

int main(int argc, char** argv) { return forkbox::bench::Main(argc, argv); }
