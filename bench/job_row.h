// Rows of jobs given to a driver: from asking it for a fork until its outcome is there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/row.h"
#include "runner/sandbox/driver.h"

namespace forkbox::bench {

struct JobRowOptions {
  std::string name{};
  std::string yardstick{};
  sandbox::Driver* driver = nullptr;
  pid_t forkserver = -1;  // its tree is what the processor time is counted of
  std::string language = "python";
  std::string code = "print(1+1)";
  std::string expected = "2\n";
  // Whether jobs are to get a fork that was ready. One that did not belongs to another row.
  bool pooled = false;
  std::size_t clients = 1;              // threads that share the runs, each with one job at a time
  std::size_t runs = 0;                 // a round
  std::function<void()> before_each{};  // not measured
  // For a driver whose pools are told apart by limits: a disk of another size for every job, so
  // that no fork is ready for it.
  bool odd_limits = false;
};

// What else there is to say about jobs that had the fork they were to get: one number each.
struct JobNotes {
  std::vector<double> fork_ms;      // until there was a fork, or one was taken from the pool
  std::vector<double> cell_cpu_ms;  // of what ran in its cell, from the job's start to its outcome
  std::vector<double> peak_mib;     // the most memory that the job's cell had
};

// The reason of the first job that fails goes to stderr.
Row JobRow(JobRowOptions options, const std::shared_ptr<JobNotes>& notes);

}  // namespace forkbox::bench
