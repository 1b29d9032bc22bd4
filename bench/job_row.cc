#include "bench/job_row.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <thread>
#include <utility>

#include "bench/process_tree.h"

namespace forkbox::bench {
namespace {

using std::chrono::steady_clock;

// Of one client.
struct Jobs {
  std::vector<double> latencies;
  JobNotes notes;
  std::size_t failed = 0;
};

void Complain(const JobRowOptions& options, const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", options.name.c_str(), why.c_str());
}

Jobs RunJobs(const JobRowOptions& options, std::size_t runs, std::size_t first) {
  Jobs jobs;
  schema::Source source;
  source.code = options.code;
  for (std::size_t i = 0; i < runs; ++i) {
    schema::Limits limits;
    if (options.odd_limits) limits.disk_bytes += 4096 * (first + i + 1);
    if (options.before_each) options.before_each();
    const std::uint64_t hits = options.driver->Stats().pool_hits;
    const auto start = steady_clock::now();
    auto fork = options.driver->ForkFor(options.language, limits, source.code);
    const schema::Outcome outcome = fork ? (*fork)->Run(source, {}) : schema::Outcome{};
    const double took = MillisSince(start);
    if (outcome.stdout_text != options.expected && jobs.failed++ == 0) {
      Complain(options, !fork                     ? fork.error().message
                        : outcome.message.empty() ? outcome.stderr_text + outcome.compile_output
                                                  : outcome.message);
    }
    if (options.pooled && options.driver->Stats().pool_hits == hits) continue;
    jobs.latencies.push_back(took);
    jobs.notes.fork_ms.push_back(static_cast<double>(outcome.timings.fork.count()) / 1000);
    jobs.notes.cell_cpu_ms.push_back(static_cast<double>(outcome.usage.cpu.count()) / 1000);
    jobs.notes.peak_mib.push_back(static_cast<double>(outcome.usage.peak_memory_bytes) / (1 << 20));
  }
  return jobs;
}

}  // namespace

Row JobRow(JobRowOptions options, const std::shared_ptr<JobNotes>& notes) {
  Row row{.name = options.name, .yardstick = options.yardstick, .runs_a_round = options.runs};
  row.cpu_ms = [forkserver = options.forkserver] { return TreeCpuMillis(forkserver); };
  row.run = [options = std::move(options), notes, made = std::size_t{0}](
                std::size_t runs, std::vector<double>* out) mutable {
    const std::size_t each = std::max<std::size_t>(runs / options.clients, 1);
    std::vector<Jobs> done(options.clients);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < options.clients; ++t) {
      threads.emplace_back(
          [&, t, first = made + t * each] { done[t] = RunJobs(options, each, first); });
    }
    made += options.clients * each;
    std::size_t failed = 0;
    for (std::size_t t = 0; t < options.clients; ++t) {
      threads[t].join();
      const Jobs& jobs = done[t];
      std::ranges::copy(jobs.latencies, std::back_inserter(*out));
      std::ranges::copy(jobs.notes.fork_ms, std::back_inserter(notes->fork_ms));
      std::ranges::copy(jobs.notes.cell_cpu_ms, std::back_inserter(notes->cell_cpu_ms));
      std::ranges::copy(jobs.notes.peak_mib, std::back_inserter(notes->peak_mib));
      failed += jobs.failed;
    }
    return failed;
  };
  return row;
}

}  // namespace forkbox::bench
