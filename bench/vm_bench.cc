// The section on virtual machines of `make bench`: jobs in machines forked live and from a
// snapshot, beside the process driver and bare interpreters, in one run on one machine.
//
//   forkbox_vm_bench [runs a round] [--json]     --json: the same once more, a JSON object a line
//
// KVM is left alone: both designs under the same accelerator.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/job_row.h"
#include "bench/machine_memory.h"
#include "bench/process_tree.h"
#include "bench/row.h"
#include "runner/sandbox/process_driver.h"
#include "runner/sandbox/vm/vm_driver.h"

namespace forkbox::bench {
namespace {

using sandbox::ProcessDriver;
using sandbox::vm::Design;
using sandbox::vm::VmDriver;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kRounds = 5;
constexpr std::size_t kReady = 2;  // machines in a pool, as by default
constexpr double kLatencyGoal = 2;
constexpr double kRateGoal = 60;

// A design as it is here: its driver, and what the boot of its template took.
struct Machines {
  std::string name;
  std::unique_ptr<VmDriver> driver;
  double boot_s = 0;
  double boot_cpu_s = 0;
  MachineMemory memory;
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

const Row* Find(const std::vector<Row>& rows, const std::string& name) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  return found == rows.end() || found->latencies.empty() ? nullptr : &*found;
}

class VmBench {
 public:
  explicit VmBench(std::size_t scale)
      : scale_(std::max<std::size_t>(scale, 8)),
        cores_(std::max(1U, std::thread::hardware_concurrency())) {}

  // False, and says why, when there is nothing to measure. Templates boot one after the other.
  bool Start() {
    auto process = ProcessDriver::Start({.forkserver_path = FORKBOX_FORKSERVER,
                                         .runtime_dir = FORKBOX_RUNTIME,
                                         .only_language = "python",
                                         .log = Log(STDERR_FILENO, LogLevel::kWarn)});
    if (!process) return Refuse(process.error().message);
    process_ = std::move(*process);
    auto runtime = sandbox::vm::RuntimeHash(
        FORKBOX_RUNTIME, {FORKBOX_FORKSERVER, FORKBOX_VM_PROGRAMS "/forkbox-vm-agent"});
    if (!runtime) return Refuse(runtime.error().message);
    // Forkservers are started before there are threads. The snapshot's does nothing until it is
    // opened; the live one boots at once.
    auto snapshot = StartDriver(Design::kSnapshot, *runtime);
    if (!snapshot) return Refuse(snapshot.error().message);
    const auto live_start = steady_clock::now();
    auto live = StartDriver(Design::kLive, *runtime);
    if (live) Boot("B (live)", std::move(*live), live_start);
    if (!live) std::fprintf(stderr, "B (live): %s\n", live.error().message.c_str());
    Boot("A (snapshot)", std::move(*snapshot), steady_clock::now());
    if (all_.empty()) return Refuse("no template has booted");
    if (auto opened = process_->Open(steady_clock::now() + std::chrono::seconds(60)); !opened) {
      return Refuse(opened.error().message);
    }
    return true;
  }

  bool Run() {
    AddBareRow(bare_, "/usr/bin/python3", "-c", "print(1+1)", 1, scale_);
    AddProcessRow("process, pooled", true, 1, scale_);
    AddProcessRow("process, unpooled", false, 1, scale_);
    for (Machines& machines : all_) {
      const std::size_t runs = RunsOf(machines, scale_);
      AddRow(machines, "unpooled", {.yardstick = bare_, .runs = runs});
      AddRow(machines, "pooled", {.yardstick = bare_, .pooled = true, .runs = runs});
    }
    const std::string at_once = ", " + std::to_string(cores_) + " at once";
    AddBareRow(bare_ + at_once, "/usr/bin/python3", "-c", "print(1+1)", cores_, scale_ * cores_);
    AddProcessRow("process" + at_once, false, cores_, scale_ * cores_);
    for (Machines& machines : all_) {
      AddRow(machines, at_once.substr(2),
             {.yardstick = bare_ + at_once,
              .clients = cores_,
              .runs = RunsOf(machines, scale_) * cores_});
    }
    AddLanguageRows(all_.front());
    Measure(rows_, kRounds);
    const bool good = Print(rows_);
    for (Machines& machines : all_) {
      machines.memory = MeasureMachineMemory(*machines.driver, kReady);
    }
    PrintMachines(at_once);
    PrintGoals(at_once);
    return good;
  }

  void PrintJson() const {
    using nlohmann::json;
    for (const Row& row : rows_) {
      const Row* yardstick = Find(rows_, row.yardstick);
      const bool compared = yardstick != nullptr && !row.latencies.empty();
      json line{{"row", row.name},
                {"runs", row.latencies.size()},
                {"failed", row.failed},
                {"p50_ms", row.Percentile(0.5)},
                {"p99_ms", row.Percentile(0.99)},
                {"rate_per_second", row.Rate()},
                {"rate_per_core", row.Rate() / static_cast<double>(cores_)},
                {"cpu_ms", row.CpuPerRun()}};
      if (compared) line["p50_of_bare"] = row.Percentile(0.5) / yardstick->Percentile(0.5);
      if (const auto notes = notes_.find(row.name); notes != notes_.end()) {
        line["fork_ms"] = Median(notes->second->fork_ms);
        line["cell_cpu_ms"] = Median(notes->second->cell_cpu_ms);
        line["cell_peak_mib"] = Median(notes->second->peak_mib);
      }
      std::printf("%s\n", line.dump().c_str());
    }
    for (const Machines& machines : all_) {
      json line{{"machines", machines.name},
                {"boot_s", machines.boot_s},
                {"boot_cpu_s", machines.boot_cpu_s}};
      if (machines.memory.idle_mib) line["private_idle_mib"] = *machines.memory.idle_mib;
      if (machines.memory.after_job_mib) {
        line["private_after_job_mib"] = *machines.memory.after_job_mib;
      }
      std::printf("%s\n", line.dump().c_str());
    }
  }

 private:
  static bool Refuse(const std::string& why) {
    std::printf("no virtual machines here (%s): their rows are left out\n", why.c_str());
    return false;
  }

  static Result<std::unique_ptr<VmDriver>> StartDriver(Design design, const std::string& runtime) {
    sandbox::vm::VmDriverOptions options;
    options.forkserver_path = FORKBOX_FORKSERVER;
    options.programs_dir = FORKBOX_VM_PROGRAMS;
    options.image_dir = FORKBOX_VM_IMAGE;
    options.runtime_hash = runtime;
    options.pool_size = kReady;
    options.allow_kvm = false;
    options.design = design;
    options.log = Log(STDERR_FILENO, LogLevel::kWarn);
    return VmDriver::Start(std::move(options));
  }

  void Boot(const std::string& name, std::unique_ptr<VmDriver> driver,
            steady_clock::time_point start) {
    driver->KeepReady(0);
    driver->Open();
    if (auto ready = driver->WaitUntilReady(start + std::chrono::minutes(6)); !ready) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), ready.error().message.c_str());
      return;
    }
    const double boot_s = MillisSince(start) / 1000;
    const double boot_cpu_s = TreeCpuMillis(driver->forkserver_pid()) / 1000;
    all_.push_back({name, std::move(driver), boot_s, boot_cpu_s, {}});
  }

  // One from a snapshot takes several times as long.
  static std::size_t RunsOf(const Machines& machines, std::size_t runs) {
    return machines.driver->Status().design == "snapshot" ? runs / 4 : runs;
  }

  std::shared_ptr<JobNotes> NotesOf(const std::string& row) {
    return notes_[row] = std::make_shared<JobNotes>();
  }

  void AddBareRow(const std::string& name, const std::string& program, const std::string& flag,
                  const std::string& code, std::size_t parallel, std::size_t runs) {
    rows_.push_back(CommandRow(name, name, {program, flag, code}, parallel, runs));
  }

  void AddProcessRow(const std::string& name, bool pooled, std::size_t clients, std::size_t runs) {
    JobRowOptions options{.name = name,
                          .yardstick = clients == 1 ? bare_ : bare_ + name.substr(name.find(',')),
                          .driver = process_.get(),
                          .forkserver = process_->forkserver_pid(),
                          .pooled = pooled,
                          .clients = clients,
                          .runs = runs,
                          .odd_limits = !pooled};
    if (pooled) options.before_each = [] { std::this_thread::sleep_for(milliseconds(8)); };
    rows_.push_back(JobRow(std::move(options), NotesOf(name)));
  }

  void AddRow(Machines& machines, const std::string& what, JobRowOptions options) {
    VmDriver* driver = machines.driver.get();
    const std::size_t ready = options.pooled ? kReady : 0;
    options.name = machines.name + ", " + what;
    options.driver = driver;
    options.forkserver = driver->forkserver_pid();
    if (options.pooled) {
      // As for a user who waits between his calls.
      options.before_each = [driver] {
        AwaitPool(*driver, kReady);
        std::this_thread::sleep_for(milliseconds(8));
      };
    }
    const std::shared_ptr<JobNotes> notes = NotesOf(options.name);
    Row row = JobRow(std::move(options), notes);
    row.prepare = [driver, ready] { AwaitPool(*driver, ready); };
    rows_.push_back(std::move(row));
  }

  // Languages, and what a program costs that computes; forked on demand.
  void AddLanguageRows(Machines& machines) {
    const std::string numpy = "import numpy\nprint(int(numpy.arange(2).sum()) + 1)";
    const std::string loop = "n = 0\nfor i in range(1000000):\n  n += i\nprint(2)";
    const std::size_t few = scale_ / 4;
    const std::string bash = "bare bash -c";
    const std::string node = "bare node -e";
    const std::string bare_numpy = "bare python3 -c, numpy";
    AddBareRow(bash, "/bin/bash", "-c", "echo 2", 1, few);
    AddRow(machines, "bash",
           {.yardstick = bash, .language = "bash", .code = "echo 2", .runs = few});
    AddBareRow(bare_numpy, "/usr/bin/python3", "-c", numpy, 1, few);
    AddRow(machines, "python, numpy", {.yardstick = bare_numpy, .code = numpy, .runs = few});
    if (::access(FORKBOX_NODE, X_OK) == 0) {
      AddBareRow(node, FORKBOX_NODE, "-e", "console.log(1+1)", 1, few);
    }
    AddRow(machines, "node",
           {.yardstick = node, .language = "javascript", .code = "console.log(1+1)", .runs = few});
    AddRow(machines, "go, compiled and run",
           {.yardstick = "",
            .language = "go",
            .code = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1 + 1) }\n",
            .runs = 1});
    AddBareRow(bare_loop_, "/usr/bin/python3", "-c", loop, 1, 1);
    AddRow(machines, "a loop", {.yardstick = bare_loop_, .code = loop, .runs = 1});
  }

  void PrintMachines(const std::string& at_once) const {
    std::printf(
        "\n| | template boots in s | CPU s of that | fork ms | CPU ms in its cell | private "
        "MiB, waiting | private MiB, after a job | its cell's peak MiB | jobs/s per core |\n"
        "|---|---|---|---|---|---|---|---|---|\n");
    const auto print = [&](const std::string& name, std::optional<double> boot_s,
                           std::optional<double> boot_cpu_s, const MachineMemory& memory) {
      std::optional<double> fork_ms;
      std::optional<double> cell_cpu_ms;
      std::optional<double> peak_mib;
      std::optional<double> per_core;
      if (const auto notes = notes_.find(name + ", unpooled"); notes != notes_.end()) {
        fork_ms = Median(notes->second->fork_ms);
        cell_cpu_ms = Median(notes->second->cell_cpu_ms);
        peak_mib = Median(notes->second->peak_mib);
      }
      if (const Row* row = Find(rows_, name + at_once)) {
        per_core = row->Rate() / static_cast<double>(cores_);
      }
      std::printf("| %s |", name.c_str());
      for (const auto& value : {boot_s, boot_cpu_s, fork_ms, cell_cpu_ms, memory.idle_mib,
                                memory.after_job_mib, peak_mib, per_core}) {
        if (value) {
          std::printf(" %.1f |", *value);
        } else {
          std::printf(" |");
        }
      }
      std::printf("\n");
    };
    print(bare_, {}, {}, {});
    print("process", {}, {}, {});
    for (const Machines& machines : all_) {
      print(machines.name, machines.boot_s, machines.boot_cpu_s, machines.memory);
    }
  }

  void PrintGoals(const std::string& at_once) const {
    const Row* bare = Find(rows_, bare_);
    if (bare == nullptr) return;
    const Machines& best = all_.front();
    for (const char* how : {", unpooled", ", pooled"}) {
      if (const Row* row = Find(rows_, best.name + how)) {
        std::printf("\n%s: p50 %.2f of bare python3 (goal %.0f), processor time %.2f",
                    row->name.c_str(), row->Percentile(0.5) / bare->Percentile(0.5), kLatencyGoal,
                    row->CpuPerRun() / bare->CpuPerRun());
      }
    }
    if (const Row* row = Find(rows_, best.name + at_once)) {
      std::printf("\n%s: %.0f jobs/s per core (goal %.0f); by processor time alone %.0f",
                  row->name.c_str(), row->Rate() / static_cast<double>(cores_), kRateGoal,
                  1000 / std::max(row->CpuPerRun(), 0.001));
    }
    const Row* bare_loop = Find(rows_, bare_loop_);
    const Row* loop = Find(rows_, best.name + ", a loop");
    const Row* empty = Find(rows_, best.name + ", unpooled");
    if (bare_loop != nullptr && loop != nullptr && empty != nullptr) {
      const double there = loop->CpuPerRun() - empty->CpuPerRun();
      const double here = bare_loop->CpuPerRun() - bare->CpuPerRun();
      std::printf("\nthe loop by itself takes %.0f times the processor time", there / here);
    }
    std::printf("\n");
  }

  const std::size_t scale_;
  const std::size_t cores_;
  const std::string bare_ = "bare python3 -c";
  const std::string bare_loop_ = "bare python3 -c, a loop";
  std::unique_ptr<ProcessDriver> process_;
  std::vector<Machines> all_;  // the better design first
  std::vector<Row> rows_;
  std::map<std::string, std::shared_ptr<JobNotes>> notes_;  // by row
};

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  std::size_t scale = 40;
  bool as_json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") {
      as_json = true;
    } else {
      scale = std::strtoul(argv[i], nullptr, 10);
    }
  }
  VmBench bench(scale);
  if (!bench.Start()) return 0;
  const bool good = bench.Run();
  if (as_json) {
    std::printf("\n");
    bench.PrintJson();
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace forkbox::bench

int main(int argc, char** argv) { return forkbox::bench::Main(argc, argv); }
