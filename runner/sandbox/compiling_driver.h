// CompilingDriver: the process driver, and before it a compiler for the languages whose manifests
// have a compile step. A sandbox of such a language compiles in its Run(), or takes the program
// that the same source made before, and then runs that in a fork of its own.
//
//   auto driver = std::make_unique<CompilingDriver>(std::move(process_driver), options);
//   driver->SetCompiler("typescript", std::move(transpiler));
//   driver->Open(deadline);
//
// Thread-safe after Open().
//
// Of such a run: events kState "compiling" and "running" in front of the phases; what the compiler
// said, warnings too, is compile_output. A compile that fails, or meets a limit of its own, ends it
// as kCompileFailed with exit code 1 and the reason in compile_output; Cancel() ends either phase.
// The limits of the execution are those of its run alone.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "runner/sandbox/artefact_cache.h"
#include "runner/sandbox/compiler.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox::sandbox {

struct CompilingDriverOptions {
  std::uint64_t cache_bytes = 256ULL << 20;  // of what was compiled before; 0 keeps nothing
  Log log = Log::Null();
};

class CompilingDriver final : public Driver {
 public:
  CompilingDriver(std::unique_ptr<ProcessDriver> process, CompilingDriverOptions options);
  ~CompilingDriver() override;

  // The compiler of a language whose manifest has a compile step without a command. Before Open().
  // What it makes is cached like everything else, so it must not depend on anything but the source.
  void SetCompiler(const std::string& language, std::unique_ptr<Compiler> compiler);

  // Opens the process driver, then compiles and runs the smoke programs of compiled languages.
  // Errors as of ProcessDriver::Open().
  Result<void> Open(Deadline deadline);

  Result<std::unique_ptr<Sandbox>> Fork(const std::string& language,
                                        const schema::Limits& limits) override;
  Result<std::unique_ptr<Sandbox>> ForkFor(const std::string& language,
                                           const schema::Limits& limits, std::string_view code,
                                           schema::EntryKind entry) override;
  using Driver::ForkFor;
  Result<std::unique_ptr<Service>> Serve(const std::string& language, const schema::Limits& limits,
                                         const schema::Source& source) override {
    return process_->Serve(language, limits, source);
  }
  [[nodiscard]] std::vector<LanguageStatus> Languages() const override;
  [[nodiscard]] DriverStats Stats() const override { return process_->Stats(); }
  [[nodiscard]] std::vector<std::string> MissingProtections() const override {
    return process_->MissingProtections();
  }

  // The one that was set for it, else nullptr. Valid as long as the driver.
  [[nodiscard]] Compiler* CompilerOf(const std::string& language) const {
    const auto found = compiled_.find(language);
    return found == compiled_.end() ? nullptr : found->second.compiler.get();
  }

  // As of the process driver.
  [[nodiscard]] bool Alive() const { return process_->Alive(); }
  [[nodiscard]] pid_t forkserver_pid() const { return process_->forkserver_pid(); }
  [[nodiscard]] ProcessDriver& process() { return *process_; }
  [[nodiscard]] ArtefactCacheStats CacheStats() const { return cache_.Stats(); }

 private:
  class CompilingSandbox;
  struct Language {
    std::unique_ptr<Compiler> compiler;
    std::string toolchain;  // all that makes its programs but their source: see ArtefactKey()
    bool ready = false;
    std::string reason;
  };

  // Shared with the cache and everyone who asked for the same; never null.
  std::shared_ptr<const Compiled> Compile(Language& language, const schema::Source& source,
                                          const std::stop_token& cancelled);
  void Examine(const std::string& id, Language* language);

  std::unique_ptr<ProcessDriver> process_;
  CompilingDriverOptions options_;
  ArtefactCache cache_;
  std::map<std::string, Language> compiled_;  // by id; fixed once Open() returns
};

}  // namespace forkbox::sandbox
