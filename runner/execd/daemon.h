// Daemon: everything that one box offers by OpenSandbox's execd, put together.
//
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "runner/execd/commands.h"
#include "runner/execd/contexts.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/files.h"
#include "runner/execd/metrics_sampler.h"
#include "runner/execd/path_expansion.h"
#include "runner/execd/ptys.h"
#include "runner/execd/shells.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class Daemon {
 public:
  struct Options {
    Environment env;  // the box's own, on top of what every program gets
    Contexts::Options contexts;
    double cpu_cores = 1;  // that it may use, for its metrics
  };

  Daemon(Options options, std::unique_ptr<sandbox::Box> box, const Clock& clock, Log log)
      : env_(std::move(options.env)),
        box_(std::move(box)),
        files_(*box_),
        commands_(*box_, files_, clock, log, &budget_),
        shells_(env_, *box_, files_, clock, log, &budget_),
        contexts_(std::move(options.contexts), *box_, files_, clock, log),
        ptys_(env_, *box_, files_, clock, log, &budget_),
        metrics_(*box_, options.cpu_cores, clock) {}

  [[nodiscard]] const Environment& env() const { return env_; }
  sandbox::Box& box() { return *box_; }
  Files& files() { return files_; }
  Commands& commands() { return commands_; }
  Shells& shells() { return shells_; }
  Contexts& contexts() { return contexts_; }
  Ptys& ptys() { return ptys_; }
  MetricsSampler& metrics() { return metrics_; }

 private:
  const Environment env_;
  const std::unique_ptr<sandbox::Box> box_;
  Files files_;
  DescriptorBudget budget_;  // of commands, shells and terminals together
  Commands commands_;
  Shells shells_;
  Contexts contexts_;
  Ptys ptys_;
  MetricsSampler metrics_;
};

}  // namespace forkbox::execd
