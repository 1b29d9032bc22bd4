// ProcessSandbox: one forked child and its run. See driver.h for the contract.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/forkserver_client.h"

namespace forkbox::sandbox {

// How a language's program is started in its child.
struct RunPlan {
  std::string language;
  std::string file_name;
  std::vector<std::string> command;  // for the exec template; empty for a warmed runtime
  std::map<std::string, std::string> env;
  bool functions = false;  // its template runs function entries

  [[nodiscard]] bool Runs(schema::EntryKind entry) const {
    return entry == schema::EntryKind::kScript ||
           (entry == schema::EntryKind::kFunction && functions);
  }
};

// Why a plan does not run an entry, in words.
std::string NoSuchEntry(const std::string& language, schema::EntryKind entry);

class ProcessSandbox final : public Sandbox {
 public:
  ProcessSandbox(ReadyFork fork, RunPlan plan, const schema::Limits& limits,
                 std::chrono::microseconds fork_time);

  schema::Outcome Run(const schema::Source& source, const EventSink& sink) override;
  void Cancel() override;
  // False when there was no descriptor left for what Cancel() needs: not to be handed out.
  [[nodiscard]] bool CanBeCancelled() const { return cancel_.valid(); }

 private:
  ReadyFork fork_;
  RunPlan plan_;
  schema::Limits limits_;
  std::chrono::microseconds fork_time_;
  UniqueFd cancel_;  // eventfd
};

}  // namespace forkbox::sandbox
