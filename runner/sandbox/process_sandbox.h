// ProcessSandbox: one forked child and its run. See driver.h for the contract.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {

// How a language's program is started in its child.
struct RunPlan {
  std::string language;
  std::string file_name;  // of the code; "" for a program that needs no more than its files
  // For the exec template; empty for a warmed runtime. Words may hold placeholders (manifest.h).
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  bool functions = false;               // its template runs function entries
  bool runs_once = false;               // see ProcessDriverOptions
  std::vector<std::string> extensions;  // of a compile: what "{sources}" takes of the files
  std::vector<std::string> artefacts;   // of a compile: what its command makes

  [[nodiscard]] bool Runs(schema::EntryKind entry) const {
    return entry == schema::EntryKind::kScript ||
           (entry == schema::EntryKind::kFunction && functions);
  }
};

// The plan's command with its placeholders filled in.
std::vector<std::string> CommandOf(const RunPlan& plan, const schema::Source& source,
                                   const schema::Limits& limits);

// Why a plan does not run an entry, in words.
std::string NoSuchEntry(const std::string& language, schema::EntryKind entry);

class ProcessSandbox final : public Sandbox {
 public:
  ProcessSandbox(ReadyFork fork, RunPlan plan, const schema::Limits& limits,
                 std::chrono::microseconds fork_time);

  schema::Outcome Run(const schema::Source& source, const EventSink& sink) override {
    // Not owned: it outlives the call.
    return RunProgram({std::shared_ptr<const schema::Source>(), &source}, source, sink);
  }
  // As Run() of `program` with the stdin, arguments and environment of `input`. The program is
  // given back once it is on its way into the sandbox, which may be long before the run ends.
  schema::Outcome RunProgram(std::shared_ptr<const schema::Source> program,
                             const schema::Source& input, const EventSink& sink);

  // Instead of Run(): the command of a compile over the code and files of `source`, and what it
  // answered. A stranger wrote the answer: see artefacts.h.
  struct Compiled {
    schema::Outcome outcome;
    std::string answer;
    bool cut = false;  // there was more
  };
  Compiled Compile(const schema::Source& source);

  void Cancel() override;
  // False when there was no descriptor left for what Cancel() needs: not to be handed out.
  [[nodiscard]] bool CanBeCancelled() const { return cancel_.valid(); }

 private:
  Compiled RunJob(std::string frame, const std::string& stdin_data, std::size_t answer_bytes,
                  const EventSink& sink);
  ChildJob JobOf(const schema::Source& program, const schema::Source& input) const;

  ReadyFork fork_;
  RunPlan plan_;
  schema::Limits limits_;
  std::chrono::microseconds fork_time_;
  UniqueFd cancel_;  // eventfd
};

}  // namespace forkbox::sandbox
