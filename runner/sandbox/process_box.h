// ProcessBox: a cell that stands, and the forks into it. See box.h for the contract.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>

#include "runner/sandbox/box.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {

// How a program is started: a fork of the template, given the job.
struct BoxPlan {
  std::size_t template_index = 0;
  ChildJob job;
  bool channel = false;  // whoever started it keeps its end
};

class ProcessBox final : public Box {
 public:
  using Planner = std::function<Result<BoxPlan>(const BoxProgram&)>;

  // The client is used for as long as the box lives. `closed` is called by the destructor.
  ProcessBox(ForkserverClient* client, OpenedBox place, const BoxLimits& limits, Planner planner,
             std::function<void()> closed);
  ~ProcessBox() override;
  ProcessBox(const ProcessBox&) = delete;
  ProcessBox& operator=(const ProcessBox&) = delete;

  Result<BoxProcess> Start(const BoxProgram& program) override;
  Result<void> Freeze() override;
  Result<void> Thaw() override;
  [[nodiscard]] bool Frozen() const override;
  void End() override;
  [[nodiscard]] BoxUsage Usage() const override;
  [[nodiscard]] bool Alive() const override;

 private:
  [[nodiscard]] BoxUsage UsageNow() const;

  ForkserverClient* const client_;
  const std::uint64_t number_;
  const BoxLimits limits_;
  const Planner planner_;
  const std::function<void()> closed_;

  std::mutex freezing_;       // one Freeze() or Thaw() at a time; before mutex_
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  OpenedBox place_;
  BoxUsage last_usage_;  // of a box that has ended
  bool frozen_ = false;
  bool ended_ = false;
};

}  // namespace forkbox::sandbox
