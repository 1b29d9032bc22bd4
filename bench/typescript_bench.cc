#include "bench/typescript_bench.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "bench/process_tree.h"

namespace forkbox::bench {
namespace {

using std::chrono::steady_clock;

const std::string kNode = FORKBOX_NODE;
const std::string kYardsticks = FORKBOX_TYPESCRIPT_YARDSTICKS;

constexpr const char* kCode =
    R"(enum Level { Low = 1, High }
interface Shape { area(): number }
class Square implements Shape {
  constructor(private readonly side: number) {}
  area(): number { return this.side ** 2; }
}
const total = (shapes: Shape[]): number => shapes.reduce((sum, s) => sum + s.area(), 0);
console.log(total([new Square(Level.Low)]) + (Level.High as number) - 1);
)";

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
      auto sandbox = driver->ForkFor("typescript", schema::Limits{}, source.code);
      const schema::Outcome outcome = sandbox ? (*sandbox)->Run(source, {}) : schema::Outcome{};
      out->push_back(MillisSince(start));
      if (outcome.stdout_text != "2\n") ++failed;
      std::this_thread::sleep_for(std::chrono::milliseconds(8));  // the pool refills
    }
    return failed;
  };
  row.cpu_ms = [driver] { return TreeCpuMillis(driver->forkserver_pid()); };
  return row;
}

std::string JsonText(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '\n') {
      json += "\\n";
    } else {
      if (c == '"' || c == '\\') json += '\\';
      json += c;
    }
  }
  return json + '"';
}

}  // namespace

void AddTypescriptRows(std::vector<Row>& rows, sandbox::CompilingDriver& driver,
                       const std::string& folder, std::uint16_t port,
                       const std::vector<pid_t>& servers, std::size_t scale) {
  if (::access(kNode.c_str(), X_OK) != 0) return;
  const std::string source = folder + "/main.ts";
  std::ofstream(source) << kCode;
  const std::string tsc = "tsc, node";
  const std::string esbuild = "esbuild, node";
  if (std::filesystem::exists(kYardsticks)) {
    rows.push_back(CommandRow(
        tsc, tsc,
        {"/bin/sh", "-c",
         kNode + " " + kYardsticks +
             "/typescript/lib/tsc.js --target es2022 --module commonjs "
             "--outDir " +
             folder + "/tsc " + source + " && exec " + kNode + " " + folder + "/tsc/main.js"},
        1, std::max<std::size_t>(scale / 10, 1)));
    rows.push_back(CommandRow(
        esbuild, esbuild,
        {"/bin/sh", "-c",
         kYardsticks + "/esbuild/bin/esbuild --format=cjs " + source + " | " + kNode + " -"},
        1, scale));
  } else {
    std::printf("no tsc and esbuild here (scripts/setup.sh --bench): their rows are left out\n\n");
  }
  rows.push_back(EngineRow("engine, typescript, another program", esbuild, &driver, false, scale));
  rows.push_back(EngineRow("engine, typescript, same program", esbuild, &driver, true, scale));
  const std::string body = R"({"language":"typescript","code":)" + JsonText(kCode) + "}";
  rows.push_back(HttpRow("HTTP, typescript, same program, 1 client", esbuild, port, servers,
                         "/v1/exec", body, R"("stdout":"2\n")", 1, scale));
}

}  // namespace forkbox::bench
