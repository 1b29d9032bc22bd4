#include "bench/go_bench.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/process_tree.h"

namespace forkbox::bench {
namespace {

using std::chrono::steady_clock;

constexpr const char* kGo = "/usr/lib/go-1.21/bin/go";
constexpr const char* kCode =
    "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1 + 1) }\n";

Row EngineRow(std::string name, std::string yardstick, sandbox::CompilingDriver* driver,
              bool same_program, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [=, made = std::size_t{0}](std::size_t n, std::vector<double>* out) mutable {
    std::size_t failed = 0;
    for (std::size_t i = 0; i < n; ++i) {
      schema::Source source;
      source.code = kCode;
      if (!same_program) source.code += "// " + std::to_string(++made) + "\n";
      const auto start = steady_clock::now();
      auto sandbox = driver->ForkFor("go", schema::Limits{}, source.code);
      const schema::Outcome outcome = sandbox ? (*sandbox)->Run(source, {}) : schema::Outcome{};
      out->push_back(MillisSince(start));
      if (outcome.stdout_text != "2\n") ++failed;
    }
    return failed;
  };
  row.cpu_ms = [driver] { return TreeCpuMillis(driver->forkserver_pid()); };
  return row;
}

}  // namespace

void AddGoRows(std::vector<Row>& rows, sandbox::CompilingDriver& driver, const std::string& folder,
               std::uint16_t port, const std::vector<pid_t>& servers, std::size_t scale) {
  if (::access(kGo, X_OK) != 0) {
    std::printf("no Go here: its rows are left out\n\n");
    return;
  }
  const std::string same = folder + "/go-same";
  const std::string other = folder + "/go-other";
  for (const std::string& place : {same, other}) {
    std::filesystem::create_directories(place);
    std::ofstream(place + "/main.go") << kCode;
  }
  const std::string environment = "HOME=" + folder + " GOCACHE=" + folder +
                                  "/go-cache GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=0 ";
  const std::string run = environment + kGo + " run ";
  // The standard library goes into the cache here, not into the first row.
  (void)!std::system((run + same + "/main.go >/dev/null").c_str());
  const std::string bare = "go run, same program";
  const std::string bare_other = "go run, another program";
  rows.push_back(CommandRow(bare, bare, {"/bin/sh", "-c", "exec env " + run + same + "/main.go"}, 1,
                            scale / 2));
  rows.push_back(CommandRow(
      bare_other, bare_other,
      {"/bin/sh", "-c",
       "echo \"// $(date +%s%N)\" >>" + other + "/main.go; exec env " + run + other + "/main.go"},
      1, scale / 2));
  rows.push_back(EngineRow("engine, go, another program", bare_other, &driver, false, scale / 2));
  rows.push_back(EngineRow("engine, go, same program", bare, &driver, true, scale));
  const std::string body =
      R"json({"language":"go","code":"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1 + 1) }\n"})json";
  rows.push_back(HttpRow("HTTP, go, same program, 1 client", bare, port, servers, "/v1/exec", body,
                         R"("stdout":"2\n")", 1, scale));
}

}  // namespace forkbox::bench
