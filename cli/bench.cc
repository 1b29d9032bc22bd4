// forkbox bench: what the engine alone does on this host.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/exit_code.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Row {
  std::string language;
  std::string mode;  // "pooled": a fork was ready; "unpooled": it is made on demand
  std::size_t runs = 0;
  std::size_t failed = 0;
  double fork_p50_ms = 0, fork_p99_ms = 0;    // Fork() alone
  double total_p50_ms = 0, total_p99_ms = 0;  // Fork(), Run() and clean-up
  double rate = 0;                            // one after the other, a second
  double cpu_ms = 0;                          // of the program, mean
};

double Millis(steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank =
      static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

class BenchCommand final : public Command {
 public:
  explicit BenchCommand(CLI::App& program)
      : app_(program.add_subcommand("bench", "Measure the engine on this host, without HTTP")) {
    app_->add_option("-n,--runs", runs_, "Measured runs for each line")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    app_->add_option("--languages", languages_, "Which, separated by commas; by default all")
        ->delimiter(',');
    app_->add_flag("--json", json_, "As JSON");
    app_->footer(
        "\nEach run forks, runs a program that prints 2, and cleans up, one after the other.\n"
        "pooled: a ready fork is taken, as under light load; unpooled: it is made on demand.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    EngineOptions options;
    options.pool_size = 4;
    auto opened = OpenLocalEngine(options);
    if (!opened) return Complain(kExitFailure, opened.error().message);
    sandbox::CompilingDriver& driver = **opened;

    std::vector<Row> rows;
    for (const auto& language : driver.Languages()) {
      const bool wanted = languages_.empty() || std::find(languages_.begin(), languages_.end(),
                                                          language.id) != languages_.end();
      if (!wanted) continue;
      if (!language.ready) {
        Complain(0, language.id + " is left out: " + language.reason);
        continue;
      }
      rows.push_back(Measure(driver, language, /*pooled=*/true));
      rows.push_back(Measure(driver, language, /*pooled=*/false));
    }
    Print(rows);
    const bool failed =
        std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.failed != 0; });
    return rows.empty() || failed ? kExitFailure : kExitOk;
  }

 private:
  static std::string Code(const std::string& language) {
    static const std::map<std::string, std::string> kCode{
        {"python", "print(1+1)"}, {"javascript", "console.log(1+1)"}, {"bash", "echo $((1+1))"}};
    const auto found = kCode.find(language);
    return found == kCode.end() ? "" : found->second;
  }

  Row Measure(sandbox::CompilingDriver& driver, const sandbox::LanguageStatus& language,
              bool pooled) {
    Row row{.language = language.id, .mode = pooled ? "pooled" : "unpooled"};
    schema::Source source;
    source.code = Code(language.id);
    schema::Limits limits = language.default_limits;
    std::vector<double> forks, totals;
    double cpu = 0, busy = 0;
    const std::size_t warm_up = std::min<std::size_t>(10, runs_);
    for (std::size_t i = 0; i < runs_ + warm_up; ++i) {
      if (pooled) {
        WaitForPool(driver);
      } else {
        // Limits that no fork was made for before, so that none is ready.
        limits.disk_bytes += 4096;
      }
      const auto start = steady_clock::now();
      auto sandbox = driver.ForkFor(language.id, limits, source.code);
      const auto forked = steady_clock::now();
      schema::Outcome outcome;
      if (sandbox) {
        outcome = (*sandbox)->Run(source, {});
        sandbox->reset();
      }
      const auto end = steady_clock::now();
      if (i < warm_up) continue;
      ++row.runs;
      if (outcome.state != schema::State::kCompleted || outcome.stdout_text != "2\n") ++row.failed;
      forks.push_back(Millis(forked - start));
      totals.push_back(Millis(end - start));
      busy += Millis(end - start);
      cpu += static_cast<double>(outcome.usage.cpu.count()) / 1'000;
    }
    row.fork_p50_ms = Percentile(forks, 50);
    row.fork_p99_ms = Percentile(forks, 99);
    row.total_p50_ms = Percentile(totals, 50);
    row.total_p99_ms = Percentile(totals, 99);
    row.rate = 1'000 * static_cast<double>(row.runs) / busy;
    row.cpu_ms = cpu / static_cast<double>(row.runs);
    return row;
  }

  // Until a fork is ready again, or it is clear that none will be.
  static void WaitForPool(const sandbox::CompilingDriver& driver) {
    for (int i = 0; i < 200 && driver.Stats().pool_ready < 1; ++i) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  void Print(const std::vector<Row>& rows) const {
    if (json_) {
      nlohmann::json all = nlohmann::json::array();
      for (const Row& row : rows) {
        all.push_back({{"language", row.language},
                       {"mode", row.mode},
                       {"runs", row.runs},
                       {"failed", row.failed},
                       {"fork_p50_ms", row.fork_p50_ms},
                       {"fork_p99_ms", row.fork_p99_ms},
                       {"total_p50_ms", row.total_p50_ms},
                       {"total_p99_ms", row.total_p99_ms},
                       {"rate_per_second", row.rate},
                       {"cpu_ms", row.cpu_ms}});
      }
      std::printf("%s\n", schema::DumpJson(all).c_str());
      return;
    }
    std::printf("%-11s %-9s %6s %6s  %9s %9s  %9s %9s %8s %8s\n", "language", "mode", "runs",
                "failed", "fork p50", "fork p99", "total p50", "total p99", "rate/s", "cpu ms");
    for (const Row& row : rows) {
      std::printf("%-11s %-9s %6zu %6zu  %9.3f %9.3f  %9.3f %9.3f %8.0f %8.2f\n",
                  row.language.c_str(), row.mode.c_str(), row.runs, row.failed, row.fork_p50_ms,
                  row.fork_p99_ms, row.total_p50_ms, row.total_p99_ms, row.rate, row.cpu_ms);
    }
  }

  CLI::App* const app_;
  std::size_t runs_ = 200;
  std::vector<std::string> languages_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeBenchCommand(CLI::App& program) {
  return std::make_unique<BenchCommand>(program);
}

}  // namespace forkbox::cli
