// Driver and Sandbox: one isolated place, forked fresh, for one run of one source.
//
//   auto sandbox = driver.Fork("python", limits);            // or an Error: *we* could not
//   schema::Outcome outcome = (*sandbox)->Run(source, sink);  // the program's fate, always a value
//
// This room knows no queue and no database. Drivers are thread-safe; a Sandbox belongs to one
// thread, except Cancel().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/languages/execution_model.h"
#include "runner/sandbox/service.h"
#include "schema/execution.h"

namespace forkbox::sandbox {

// Called from the running thread with each piece of output within the cap, as it is produced.
using EventSink = std::function<void(const schema::Event&)>;

class Sandbox {
 public:
  // Kills whatever still runs inside. The driver removes the rest (cgroups, mounts, namespaces).
  virtual ~Sandbox() = default;

  // Runs the source to its end: by itself, by a limit, or by Cancel(). Once. Never throws, never
  // blocks past the wall limit by more than the time it takes to kill. `sink` may be empty.
  virtual schema::Outcome Run(const schema::Source& source, const EventSink& sink) = 0;

  // Any thread, any time: a run that has not ended ends with reason kCancelled.
  virtual void Cancel() = 0;
};

// One language as this installation really has it.
struct LanguageStatus {
  std::string id;                    // "python"
  std::vector<std::string> aliases;  // "py", "python3"
  std::string name;                  // "Python"
  std::string version;               // as its own version command says; "" if unavailable
  bool ready = false;                // its smoke program ran
  std::string reason;                // why not ready
  std::string file_name;             // what the program is called in its working directory
  schema::Limits default_limits;
  languages::ExecutionModel execution_model = languages::ExecutionModel::kInterpreted;
  std::vector<std::string> extensions;  // of its sources, the usual one first: ".py"
  bool functions = false;               // has function entries
};

struct DriverStats {
  std::uint64_t pool_hits = 0;
  std::uint64_t pool_misses = 0;
  std::uint64_t pool_ready = 0;  // forks waiting now
};

class Driver {
 public:
  virtual ~Driver() = default;

  // A fork of the language's template under these limits. kInvalidArgument for a language that
  // Languages() does not name, kUnavailable for one that is not ready.
  virtual Result<std::unique_ptr<Sandbox>> Fork(const std::string& language,
                                                const schema::Limits& limits) = 0;

  // The same, told what will run: a language may keep several templates warm, and the one that has
  // imported what the code mentions is the fast one. Any choice runs any program. kInvalidArgument
  // also for an entry that the language does not have; a Run() of one ends as kSandboxFailed.
  virtual Result<std::unique_ptr<Sandbox>> ForkFor(const std::string& language,
                                                   const schema::Limits& limits,
                                                   std::string_view code, schema::EntryKind entry) {
    (void)code;
    (void)entry;
    return Fork(language, limits);
  }
  Result<std::unique_ptr<Sandbox>> ForkFor(const std::string& language,
                                           const schema::Limits& limits, std::string_view code) {
    return ForkFor(language, limits, code, schema::EntryKind::kScript);
  }

  // A fork that runs the source's code as a program that serves its caller, for as long as that
  // keeps it. Of the limits only those of the cell hold (see service.h); the source brings no files
  // and no stdin. Errors as of Fork(); kUnavailable also where there is no such thing.
  virtual Result<std::unique_ptr<Service>> Serve(const std::string& language,
                                                 const schema::Limits& limits,
                                                 const schema::Source& source) {
    (void)limits;
    (void)source;
    return Fail(ErrorCode::kUnavailable, language + " cannot serve here");
  }

  [[nodiscard]] virtual std::vector<LanguageStatus> Languages() const = 0;
  [[nodiscard]] virtual DriverStats Stats() const = 0;

  // Protections this host or our privileges cannot give, in words; empty when all are on.
  [[nodiscard]] virtual std::vector<std::string> MissingProtections() const = 0;
};

}  // namespace forkbox::sandbox
