// Asks agents: finds one, waits for its answer, checks it, and turns to another when it has died,
// lies or is silent, as long as the request has not begun or can as well be done twice.
//
// Memory for the listings of all boxes together is limited (byte_budget.h).
//
// Thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/agent/agent_wire.h"
#include "runner/execd/agent_pool.h"
#include "runner/execd/byte_budget.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

struct AgentReply {
  AgentAnswer answer;
  std::vector<FileInfo> entries;
  UniqueFd descriptor;    // unchecked
  std::string temporary;  // of kUpload: where the agent said that it would write
};

class AgentCaller {
 public:
  // The box must outlive it.
  AgentCaller(sandbox::Box& box, Files::Patience patience)
      : box_(box), patience_(patience), pool_(box) {}

  enum class Repeat { kNever, kHarmless };
  // Errors as of Files.
  Result<AgentReply> Call(const AgentRequest& request, Repeat repeat,
                          std::chrono::milliseconds patience);
  // The same, for an upload that has begun: *lease is the agent that waits for its content.
  Result<AgentReply> Begin(const AgentRequest& request, std::optional<AgentPool::Lease>* lease);

  // What a broken link is to those who use Files: that the box has ended or is frozen goes first.
  [[nodiscard]] Error Explain(const Error& error) const;
  // Of an upload's or a replacement's agent that has left it behind. That it may fail is all the
  // same to us.
  void RemoveTemporary(const std::string& path);

  // Nothing in the box answers before it is thawed.
  [[nodiscard]] bool frozen() const { return box_.Frozen(); }
  [[nodiscard]] const Files::Patience& patience() const { return patience_; }

 private:
  struct Attempt;
  Attempt Try(AgentLink& link, Operation operation, const std::string& request,
              Deadline deadline) const;
  Result<AgentReply> Run(const AgentRequest& request, Repeat repeat,
                         std::chrono::milliseconds patience, std::optional<AgentPool::Lease>* keep);

  sandbox::Box& box_;
  const Files::Patience patience_;
  AgentPool pool_;
};

}  // namespace forkbox::execd
