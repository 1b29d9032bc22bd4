#include "runner/sandbox/compiling_driver.h"

#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "runner/sandbox/command_compiler.h"
#include "runner/sandbox/why_not.h"

namespace forkbox::sandbox {
namespace {

using schema::Reason;
using std::chrono::microseconds;
using std::chrono::steady_clock;

microseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
}

// Why there is no program, for whoever wrote the source.
std::string LimitText(Reason reason, const languages::CompileStep& step) {
  const auto seconds = [](std::chrono::milliseconds time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
  };
  switch (reason) {
    case Reason::kWallTimeout:
      return "the compiler was stopped after " + seconds(step.limits.wall) + "\n";
    case Reason::kCpuTimeout:
      return "the compiler was stopped after " + seconds(step.limits.cpu) + " of processor time\n";
    case Reason::kOutOfMemory:
      return "the compiler ran out of memory (its limit is " +
             std::to_string(step.limits.memory_bytes >> 20) + " MiB)\n";
    default:
      return {};
  }
}

// Everything but the source that decides what is made of it.
std::string Toolchain(const languages::Manifest& manifest, const std::string& version) {
  std::string text = manifest.id + '\n' + version + '\n' + manifest.file_name + '\n';
  for (const std::string& word : manifest.compile->command) text += word + '\n';
  for (const std::string& path : manifest.compile->artefacts) text += path + '\n';
  for (const std::string& extension : manifest.extensions) text += extension + '\n';
  for (const auto& [name, value] : manifest.compile->env) text += name + '=' + value + '\n';
  return text;
}

}  // namespace

class CompilingDriver::CompilingSandbox final : public Sandbox {
 public:
  CompilingSandbox(CompilingDriver& driver, std::string id, Language& language,
                   const schema::Limits& limits)
      : driver_(driver), id_(std::move(id)), language_(language), limits_(limits) {}

  schema::Outcome Run(const schema::Source& source, const EventSink& sink) override {
    const auto start = steady_clock::now();
    if (sink) sink({schema::EventKind::kState, "compiling"});
    std::shared_ptr<const Compiled> compiled =
        driver_.Compile(language_, source, cancelled_.get_token());
    const microseconds compile_time = Since(start);
    std::string said = compiled->output;
    schema::Outcome outcome;
    if (compiled->reason == Reason::kExited) {
      const schema::Source* const program = &compiled->program;
      outcome = RunProgram({std::move(compiled), program}, source, sink);
    } else {
      const languages::Manifest& manifest = *driver_.process_->ManifestOf(id_);
      const std::string limit = LimitText(compiled->reason, *manifest.compile);
      if (!limit.empty() && !said.empty() && said.back() != '\n') said += '\n';
      said += limit;
      outcome.reason = limit.empty() ? compiled->reason : Reason::kCompileFailed;
      if (outcome.reason == Reason::kCompileFailed) outcome.exit_code = 1;
      outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
      outcome.message = compiled->message;
    }
    outcome.compile_output = std::move(said);
    outcome.timings.compile = compile_time;
    outcome.timings.total += compile_time;
    return outcome;
  }

  void Cancel() override {
    cancelled_.request_stop();
    const std::lock_guard lock(mutex_);
    if (running_ != nullptr) running_->Cancel();
  }

 private:
  // Holds the program no longer than it takes to send it.
  schema::Outcome RunProgram(std::shared_ptr<const schema::Source> program,
                             const schema::Source& input, const EventSink& sink) {
    schema::Outcome outcome;  // kSandboxFailed
    auto sandbox = driver_.process_->ForkProcess(id_, limits_, program->code, program->entry);
    if (!sandbox) {
      outcome.message = sandbox.error().message;
      return outcome;
    }
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_.stop_requested()) {
        outcome.reason = Reason::kCancelled;
        outcome.state = schema::StateOf(outcome.reason, std::nullopt);
        return outcome;
      }
      running_ = sandbox->get();
    }
    if (sink) sink({schema::EventKind::kState, "running"});
    outcome = (*sandbox)->RunProgram(std::move(program), input, sink);
    const std::lock_guard lock(mutex_);
    running_ = nullptr;
    return outcome;
  }

  CompilingDriver& driver_;
  const std::string id_;
  Language& language_;
  const schema::Limits limits_;
  std::stop_source cancelled_;
  std::mutex mutex_;  // guards running_
  Sandbox* running_ = nullptr;
};

CompilingDriver::CompilingDriver(std::unique_ptr<ProcessDriver> process,
                                 CompilingDriverOptions options)
    : process_(std::move(process)), options_(std::move(options)), cache_(options_.cache_bytes) {}

CompilingDriver::~CompilingDriver() = default;

void CompilingDriver::SetCompiler(const std::string& language, std::unique_ptr<Compiler> compiler) {
  compiled_[language].compiler = std::move(compiler);
}

Result<void> CompilingDriver::Open(Deadline deadline) {
  if (auto opened = process_->Open(deadline); !opened) return opened;
  std::map<std::string, Language> present;
  for (const LanguageStatus& status : process_->Languages()) {
    const languages::Manifest* manifest = process_->ManifestOf(status.id);
    if (!manifest->compile) continue;
    Language& language = present[status.id];
    language.toolchain = Toolchain(*manifest, status.version);
    if (!manifest->compile->command.empty()) {
      language.compiler = std::make_unique<CommandCompiler>(*process_, status.id);
    } else if (const auto given = compiled_.find(status.id); given != compiled_.end()) {
      language.compiler = std::move(given->second.compiler);
    }
    language.ready = status.ready && language.compiler != nullptr;
    if (status.ready && !language.ready) language.reason = "its compiler is not here";
  }
  compiled_ = std::move(present);
  // Side by side: a compiler is the slowest thing that is started here.
  std::vector<std::jthread> examiners;
  for (auto& [id, language] : compiled_) {
    if (!language.ready) continue;
    examiners.emplace_back([this, id = id, &language] { Examine(id, &language); });
  }
  return {};
}

// The smoke program, compiled and run as any other; again if it fails, unless by its time.
void CompilingDriver::Examine(const std::string& id, Language* language) {
  const languages::Manifest& manifest = *process_->ManifestOf(id);
  schema::Limits limits = manifest.limits;
  limits.wall = limits.cpu = std::chrono::seconds(20);
  schema::Source source;
  source.code = manifest.smoke_code;
  const auto right = [&](const schema::Outcome& outcome) {
    return outcome.state == schema::State::kCompleted &&
           outcome.stdout_text == manifest.smoke_stdout;
  };
  const auto run = [&] { return CompilingSandbox(*this, id, *language, limits).Run(source, {}); };
  schema::Outcome smoke = run();
  if (!right(smoke) && smoke.state != schema::State::kTimeout) {
    options_.log.Warn("language.examined_again",
                      {{"language", id}, {"reason", WhyNot("smoke program", smoke)}});
    source.code += '\n';  // another key: the failure of a compile is kept in the cache
    smoke = run();
  }
  language->ready = right(smoke);
  if (!language->ready) language->reason = WhyNot("smoke program", smoke);
  options_.log.Info("language.compiled", {{"language", id},
                                          {"ready", language->ready},
                                          {"reason", language->reason},
                                          {"compile_us", smoke.timings.compile.count()},
                                          {"exec_us", smoke.timings.exec.count()}});
}

std::shared_ptr<const Compiled> CompilingDriver::Compile(Language& language,
                                                         const schema::Source& source,
                                                         const std::stop_token& cancelled) {
  const auto make = [&] {
    // What a compile may depend on, and no more: not the input, arguments or environment of one
    // run. Exactly what the key is made of.
    schema::Source compiled_from;
    compiled_from.code = source.code;
    compiled_from.entry = source.entry;
    compiled_from.files = source.files;
    return language.compiler->Compile(compiled_from, cancelled);
  };
  const std::string key = ArtefactKey(language.toolchain, source);
  if (key.empty()) return std::make_shared<const Compiled>(make());
  bool hit = false;
  auto compiled = cache_.Get(key, cancelled, make, &hit);
  if (compiled != nullptr) return compiled;
  Compiled none;
  none.reason = Reason::kCancelled;
  return std::make_shared<const Compiled>(std::move(none));
}

Result<std::unique_ptr<Sandbox>> CompilingDriver::Fork(const std::string& language,
                                                       const schema::Limits& limits) {
  return ForkFor(language, limits, {}, schema::EntryKind::kScript);
}

Result<std::unique_ptr<Sandbox>> CompilingDriver::ForkFor(const std::string& language,
                                                          const schema::Limits& limits,
                                                          std::string_view code,
                                                          schema::EntryKind entry) {
  const languages::Manifest* manifest = process_->ManifestOf(language);
  const auto found = manifest == nullptr ? compiled_.end() : compiled_.find(manifest->id);
  if (found == compiled_.end()) return process_->ForkFor(language, limits, code, entry);
  if (!found->second.ready) {
    const std::string& reason = found->second.reason;
    // Without a reason of ours, it is the process driver that does not have it.
    if (reason.empty()) return process_->ForkFor(language, limits, code, entry);
    return Fail(ErrorCode::kUnavailable, language + " is not available: " + reason);
  }
  // The compiled program runs as a plain one: what it is of its language, its compiler knows.
  if (entry != schema::EntryKind::kScript) {
    return Fail(ErrorCode::kInvalidArgument, NoSuchEntry(manifest->id, entry));
  }
  return std::make_unique<CompilingSandbox>(*this, manifest->id, found->second, limits);
}

std::vector<LanguageStatus> CompilingDriver::Languages() const {
  std::vector<LanguageStatus> all = process_->Languages();
  for (LanguageStatus& status : all) {
    const auto found = compiled_.find(status.id);
    if (found == compiled_.end() || found->second.ready || !status.ready) continue;
    status.ready = false;
    status.reason = found->second.reason;
  }
  return all;
}

}  // namespace forkbox::sandbox
