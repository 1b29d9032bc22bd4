// ProcessDriver: sandboxes made of namespaces, cgroups and seccomp around forks of warmed
// runtimes, with a pool of ready forks so that a request does not wait for one.
//
//   auto driver = ProcessDriver::Start(options);   // while still root, before any thread
//   DropPrivileges();
//   driver->Open(deadline);                        // templates warm up, smoke programs run
//
// Thread-safe after Open(). The process must ignore SIGPIPE.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "runner/languages/manifest.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/process_box.h"
#include "runner/sandbox/process_sandbox.h"

namespace forkbox::sandbox {

struct ProcessDriverOptions {
  std::string forkserver_path;  // the forkbox-forkserver executable
  std::string runtime_dir;      // bound as /opt/forkbox; holds manifests/
  std::size_t pool_size = 4;    // ready forks kept for each template
  std::size_t max_sandboxes = 256;
  // Boxes at a time, beside the sandboxes of runs. 0: as many as there is room for among those.
  std::size_t max_boxes = 0;
  // An id or alias: no other language is started and examined, but for one that it runs as. For a
  // process that runs one program and ends. "" for all.
  std::string only_language = {};
  // No language is started and examined but those that have interactive sessions, and what these
  // run as. For a process whose boxes are all it has: the tools of the others are in them as well.
  bool only_sessions = false;
  // For a process that is copied with all of its forks, and then runs one program: its pools are
  // filled by Open() and FillPools() alone, so that no fork is made beside the program; every job
  // says that the generators of random numbers are to be reseeded; and the end of a program is told
  // before its cell is torn down, which is done with the sandbox.
  bool runs_once = false;
  Log log = Log::Null();
};

class ProcessDriver final : public Driver {
 public:
  // kInvalidArgument when there is no `only_language`.
  static Result<std::unique_ptr<ProcessDriver>> Start(ProcessDriverOptions options);
  ~ProcessDriver() override;

  // Waits for the templates and runs every language's smoke program and version command; of a
  // language that is compiled the latter only, since its programs take a compiler (CompilingDriver)
  // to run. Languages that fail are reported by Languages(); an Error means that no sandbox can be
  // made at all.
  Result<void> Open(Deadline deadline);

  // Of one that runs once: returns when every pool is full again, or says why one cannot be.
  Result<void> FillPools(Deadline deadline);

  Result<std::unique_ptr<Sandbox>> Fork(const std::string& language,
                                        const schema::Limits& limits) override;
  Result<std::unique_ptr<Sandbox>> ForkFor(const std::string& language,
                                           const schema::Limits& limits, std::string_view code,
                                           schema::EntryKind entry) override;
  using Driver::ForkFor;
  Result<std::unique_ptr<Service>> Serve(const std::string& language, const schema::Limits& limits,
                                         const schema::Source& source) override;
  // As ForkFor(), for what only this sandbox can: RunProgram().
  Result<std::unique_ptr<ProcessSandbox>> ForkProcess(const std::string& language,
                                                      const schema::Limits& limits,
                                                      std::string_view code,
                                                      schema::EntryKind entry);
  // A fork for the compile step of a language whose manifest has a command for it, under the limits
  // of that step: for its Compile(). Errors as of Fork().
  Result<std::unique_ptr<ProcessSandbox>> ForkCompile(const std::string& language);
  // kUnavailable when there is no room for another.
  Result<std::unique_ptr<Box>> OpenBox(const BoxLimits& limits);
  // nullptr for a language that Languages() does not name. Valid as long as the driver.
  [[nodiscard]] const languages::Manifest* ManifestOf(const std::string& language) const;
  [[nodiscard]] std::vector<LanguageStatus> Languages() const override;
  [[nodiscard]] DriverStats Stats() const override;
  [[nodiscard]] std::vector<std::string> MissingProtections() const override;

  // False once the privileged process has ended: nothing can be forked any more, by this object.
  [[nodiscard]] bool Alive() const { return client_->alive(); }
  // The privileged process, for doctor and tests.
  [[nodiscard]] pid_t forkserver_pid() const { return client_->pid(); }

 private:
  // Template 0 is the one for every plain language.
  static constexpr std::size_t kExecTemplate = 0;
  static constexpr const char* kRuntimeTarget = "/opt/forkbox";

  // Forks that differ in these are not interchangeable.
  struct PoolKey {
    std::size_t template_index = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t disk_bytes = 0;
    std::uint32_t pids = 0;
    auto operator<=>(const PoolKey&) const = default;
  };
  struct Pool {
    std::deque<ReadyFork> forks;
    bool failing = false;  // the last refill failed: try again only when asked
  };
  struct Language {
    languages::Manifest manifest;
    LanguageStatus status;
    std::size_t template_index = 0;
    RunPlan plan;
    RunPlan compile_plan;  // without a command where the manifest has none
    struct Variant {
      std::vector<std::string> mentions;
      std::size_t template_index = 0;
    };
    std::vector<Variant> variants;
    std::optional<std::size_t> session_template;  // of one whose sessions are warm
    bool installed = true;                        // else status.reason says what is missing
  };

  explicit ProcessDriver(ProcessDriverOptions options) : options_(std::move(options)) {}
  static PoolKey KeyOf(std::size_t template_index, const schema::Limits& limits);
  void FallBackToCold(Language* language, const std::string& reason);
  void ExamineAll(bool that_run_as_another);
  void Examine(Language* language);
  void RunAsTheOther(Language* language);
  Result<ReadyFork> Take(std::size_t template_index, const schema::Limits& limits);
  std::size_t ChooseTemplate(const Language& language, std::string_view code) const;
  std::optional<ReadyFork> TakePooled(const PoolKey& key);
  std::map<PoolKey, schema::Limits> WantedPools() const;
  void KeepPoolsFull();
  const Language* Find(const std::string& language) const;
  // In a box of that much memory.
  Result<BoxPlan> PlanOf(const BoxProgram& program, std::uint64_t memory_bytes) const;
  Result<BoxPlan> PlanOfSession(const BoxProgram& program, std::uint64_t memory_bytes) const;

  ProcessDriverOptions options_;
  std::unique_ptr<ForkserverClient> client_;
  std::vector<Language> languages_;  // fixed once Open() returns
  std::optional<std::size_t> agent_template_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wanted_;
  std::map<PoolKey, Pool> pools_;
  DriverStats stats_;
  std::size_t open_boxes_ = 0;
  bool closing_ = false;
  std::thread filler_;
};

}  // namespace forkbox::sandbox
