#include "bench/machine_memory.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "bench/process_tree.h"
#include "runner/sandbox/vm/machine.h"

namespace forkbox::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{10'000};
constexpr milliseconds kRest{300};  // what was begun is done, the dead are buried
constexpr std::size_t kSamples = 3;

// A live template among them.
std::set<pid_t> QemusOf(const sandbox::vm::VmDriver& driver) {
  std::set<pid_t> qemus;
  for (const pid_t pid : TreeOf(driver.forkserver_pid())) {
    std::error_code error;
    const auto program =
        std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", error);
    if (program == sandbox::vm::kQemuPath) qemus.insert(pid);
  }
  return qemus;
}

std::optional<double> PrivateMib(pid_t pid) {
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  double sum_kib = 0;
  double dirty_kib = 0;  // of the mapping that is being read; "Anonymous" comes after it
  bool any = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream in(line);
    std::string field;
    double kib = 0;
    if (!(in >> field >> kib)) continue;
    if (field == "Private_Dirty:") dirty_kib = kib;
    if (field != "Anonymous:") continue;
    sum_kib += std::min(dirty_kib, kib);
    any = true;
  }
  if (!any) return std::nullopt;
  return sum_kib / 1024;
}

// Of those that were not there before.
std::vector<double> PrivateOfNew(const sandbox::vm::VmDriver& driver,
                                 const std::set<pid_t>& before) {
  std::vector<double> all;
  for (const pid_t pid : QemusOf(driver)) {
    if (before.contains(pid)) continue;
    if (const auto mib = PrivateMib(pid)) all.push_back(*mib);
  }
  return all;
}

// One job at a time: what is new is its machine.
std::optional<double> AfterJob(sandbox::vm::VmDriver& driver) {
  std::this_thread::sleep_for(kRest);
  const std::set<pid_t> before = QemusOf(driver);
  schema::Source source;
  source.code = "print(1+1, flush=True)\nimport time\ntime.sleep(60)\n";
  auto fork = driver.ForkFor("python", schema::Limits{}, source.code);
  if (!fork) return std::nullopt;
  std::vector<double> found;
  (*fork)->Run(source, [&](const schema::Event& event) {
    if (event.kind != schema::EventKind::kStdout) return;
    std::this_thread::sleep_for(kRest);
    found = PrivateOfNew(driver, before);
    (*fork)->Cancel();
  });
  if (found.size() != 1) return std::nullopt;
  return found.front();
}

}  // namespace

bool AwaitPool(sandbox::vm::VmDriver& driver, std::size_t ready) {
  driver.KeepReady(ready);
  const auto give_up = steady_clock::now() + kPatience;
  while (driver.Stats().pool_ready != ready && steady_clock::now() < give_up) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  return driver.Stats().pool_ready == ready;
}

MachineMemory MeasureMachineMemory(sandbox::vm::VmDriver& driver, std::size_t ready) {
  MachineMemory memory;
  AwaitPool(driver, 0);
  std::vector<double> after_jobs;
  for (std::size_t i = 0; i < kSamples; ++i) {
    if (const auto mib = AfterJob(driver)) after_jobs.push_back(*mib);
  }
  if (!after_jobs.empty()) {
    std::sort(after_jobs.begin(), after_jobs.end());
    memory.after_job_mib = after_jobs[after_jobs.size() / 2];
  }

  std::this_thread::sleep_for(kRest);
  const std::set<pid_t> before = QemusOf(driver);
  if (AwaitPool(driver, ready)) {
    std::this_thread::sleep_for(kRest);
    double sum = 0;
    const std::vector<double> waiting = PrivateOfNew(driver, before);
    for (const double mib : waiting) sum += mib;
    if (!waiting.empty()) memory.idle_mib = sum / static_cast<double>(waiting.size());
  }
  AwaitPool(driver, 0);
  return memory;
}

}  // namespace forkbox::bench
