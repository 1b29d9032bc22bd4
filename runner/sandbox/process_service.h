// ProcessService: one forked child that goes on serving. See service.h for the contract.
#pragma once

#include <memory>

#include "base/result.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/process_sandbox.h"
#include "runner/sandbox/service.h"

namespace forkbox::sandbox {

class ProcessService final : public Service {
 public:
  // Hands the fork its job. kUnavailable when it would not take it.
  static Result<std::unique_ptr<ProcessService>> Start(ReadyFork fork, const RunPlan& plan,
                                                       const schema::Source& source);

  [[nodiscard]] int input() const override { return fork_.stdin_pipe.get(); }
  [[nodiscard]] int output() const override { return fork_.stdout_pipe.get(); }

 private:
  explicit ProcessService(ReadyFork fork) : fork_(std::move(fork)) {}

  ReadyFork fork_;  // closing it has the cell torn down
};

}  // namespace forkbox::sandbox
