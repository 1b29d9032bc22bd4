#include "runner/sandbox/process_driver.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

#include "runner/sandbox/common_environment.h"
#include "runner/sandbox/missing_protections.h"
#include "runner/sandbox/process_service.h"
#include "runner/sandbox/uid_range.h"

namespace forkbox::sandbox {
namespace {

// Below the runtime folder.
constexpr const char* kAgentProgram = "/agent/agent_template";

using std::chrono::seconds;
using std::chrono::steady_clock;

std::vector<std::string> Assignments(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> env;
  for (const auto& [name, value] : variables) env.push_back(name + "=" + value);
  return env;
}

std::string Absolute(const std::string& path, const std::string& folder) {
  return path.rfind('/', 0) == 0 ? path : folder + "/" + path;
}

// Leaves the language and the one that its programs run as. False when there is none.
bool KeepOnly(const std::string& language, std::vector<languages::Manifest>* manifests) {
  const auto asked = std::find_if(manifests->begin(), manifests->end(),
                                  [&](const auto& manifest) { return manifest.Answers(language); });
  if (asked == manifests->end()) return false;
  const std::set<std::string> kept{asked->id, asked->runs_as};
  std::erase_if(*manifests, [&](const auto& manifest) { return !kept.contains(manifest.id); });
  return true;
}

// The languages that have sessions, and those that these run as.
std::set<std::string> WithSessions(const std::vector<languages::Manifest>& manifests) {
  std::set<std::string> ids;
  for (const languages::Manifest& manifest : manifests) {
    if (!manifest.session) continue;
    ids.insert(manifest.id);
    if (!manifest.runs_as.empty()) ids.insert(manifest.runs_as);
  }
  return ids;
}

}  // namespace

Result<std::unique_ptr<ProcessDriver>> ProcessDriver::Start(ProcessDriverOptions options) {
  std::unique_ptr<ProcessDriver> driver(new ProcessDriver(std::move(options)));
  const ProcessDriverOptions& chosen = driver->options_;
  auto manifests = languages::LoadManifests(chosen.runtime_dir + "/manifests");
  if (!manifests) return Fail(manifests.error());
  if (!chosen.only_language.empty() && !KeepOnly(chosen.only_language, &*manifests)) {
    return Fail(ErrorCode::kInvalidArgument, "unknown language " + chosen.only_language);
  }

  const std::set<std::string> with_sessions = WithSessions(*manifests);

  ForkserverConfig config;
  // One more for the inits. Each sandbox in use has a uid, and a few wait for their burial.
  config.uid_count = static_cast<std::uint32_t>(chosen.max_sandboxes + chosen.max_boxes + 1);
  config.uid_base = DrawUidBase(config.uid_count);
  config.binds.push_back({chosen.runtime_dir, kRuntimeTarget});
  config.templates.push_back({"exec", {std::string(kRuntimeTarget) + "/exec/exec_template"}, {}});
  if (std::filesystem::exists(chosen.runtime_dir + kAgentProgram)) {
    driver->agent_template_ = config.templates.size();
    config.templates.push_back({"agent", {std::string(kRuntimeTarget) + kAgentProgram}, {}, true});
  }
  for (languages::Manifest& manifest : *manifests) {
    Language language;
    language.status.id = manifest.id;
    language.status.name = manifest.name;
    language.status.aliases = manifest.aliases;
    language.status.file_name = manifest.file_name;
    language.status.default_limits = manifest.limits;
    language.status.execution_model = manifest.execution_model();
    language.status.extensions = manifest.extensions;
    language.template_index = kExecTemplate;
    language.plan.language = manifest.id;
    language.plan.file_name = manifest.file_name;
    language.plan.functions = manifest.functions;
    language.plan.runs_once = chosen.runs_once;
    std::vector<BindSpec> binds;
    for (const languages::Requirement& needed : manifest.requirements) {
      const std::string path = Absolute(needed.path, chosen.runtime_dir);
      if (!language.installed || std::filesystem::exists(path)) continue;
      language.installed = false;
      language.status.reason =
          "not installed: " +
          (needed.package.empty() ? path + " is missing" : "apt-get install " + needed.package);
    }
    for (const languages::Bind& bind : manifest.binds) {
      binds.push_back({Absolute(bind.source, chosen.runtime_dir), bind.target});
      if (!language.installed || std::filesystem::exists(binds.back().source)) continue;
      language.installed = false;
      language.status.reason = "not installed: " + binds.back().source + " is missing";
    }
    const bool wanted = !chosen.only_sessions || with_sessions.contains(manifest.id);
    if (!wanted && !language.installed) continue;
    if (!language.installed) {
      language.manifest = std::move(manifest);
      driver->languages_.push_back(std::move(language));
      continue;
    }
    config.binds.insert(config.binds.end(), binds.begin(), binds.end());
    if (!wanted) continue;
    language.plan.env = CommonEnvironment();
    for (const auto& [name, value] : manifest.env) language.plan.env[name] = value;
    if (manifest.kind == languages::TemplateKind::kWarmed) {
      language.template_index = config.templates.size();
      const std::vector<std::string> env = Assignments(manifest.template_env);
      config.templates.push_back({manifest.id, manifest.template_command, env});
      for (const auto& variant : manifest.variants) {
        language.variants.push_back({variant.mentions, config.templates.size()});
        config.templates.push_back({manifest.id, variant.command, env});
      }
    } else {
      language.plan.command = manifest.run_command;
    }
    if (manifest.session && manifest.session->warm) {
      language.session_template = language.template_index;
      if (!manifest.session->template_command.empty()) {
        language.session_template = config.templates.size();
        config.templates.push_back({manifest.id + " session", manifest.session->template_command,
                                    Assignments(manifest.session->template_env), true});
      }
    }
    if (manifest.compile) {
      language.compile_plan = language.plan;
      language.compile_plan.command = manifest.compile->command;
      language.compile_plan.extensions = manifest.extensions;
      language.compile_plan.artefacts = manifest.compile->artefacts;
      language.compile_plan.env = CommonEnvironment();
      for (const auto& [name, value] : manifest.compile->env) {
        language.compile_plan.env[name] = value;
      }
      language.plan.file_name.clear();  // what was compiled is no longer needed
    }
    language.manifest = std::move(manifest);
    driver->languages_.push_back(std::move(language));
  }
  for (Language& language : driver->languages_) {
    if (!language.manifest.runs_as.empty()) driver->RunAsTheOther(&language);
  }
  auto client = ForkserverClient::Start(chosen.forkserver_path, std::move(config));
  if (!client) return Fail(client.error());
  driver->client_ = std::move(*client);
  return driver;
}

// LoadManifests() has seen to it that there is such a language and that it is not compiled itself.
void ProcessDriver::RunAsTheOther(Language* language) {
  for (const Language& other : languages_) {
    if (other.manifest.id != language->manifest.runs_as) continue;
    language->template_index = other.template_index;
    language->variants = other.variants;
    const std::map<std::string, std::string> own_env = language->manifest.env;
    language->plan = other.plan;
    language->plan.language = language->manifest.id;
    for (const auto& [name, value] : own_env) language->plan.env[name] = value;
    // Before Open() has examined it, a language that is not ready has no reason yet.
    if (language->installed && !other.status.ready && !other.status.reason.empty()) {
      language->installed = false;
      language->status.reason = other.status.name + " is not available: " + other.status.reason;
    }
  }
}

ProcessDriver::~ProcessDriver() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wanted_.notify_all();
  if (filler_.joinable()) filler_.join();
}

Result<void> ProcessDriver::Open(Deadline deadline) {
  if (auto connected = client_->Connect(deadline); !connected) return connected;
  ExamineAll(/*that_run_as_another=*/false);
  // These take over what the others have turned out to be.
  for (Language& language : languages_) {
    if (!language.manifest.runs_as.empty()) RunAsTheOther(&language);
  }
  ExamineAll(/*that_run_as_another=*/true);
  const bool any = std::any_of(languages_.begin(), languages_.end(),
                               [](const Language& language) { return language.status.ready; });
  if (!any && options_.only_language.empty()) {  // of one, a fork says why it is not there
    std::string reasons;
    for (const Language& language : languages_) {
      reasons += " " + language.status.id + ": " + language.status.reason + ";";
    }
    return Fail(ErrorCode::kUnavailable, "no language works:" + reasons);
  }
  if (options_.runs_once) return FillPools(deadline);
  filler_ = std::thread([this] { KeepPoolsFull(); });
  return {};
}

ProcessDriver::PoolKey ProcessDriver::KeyOf(std::size_t template_index,
                                            const schema::Limits& limits) {
  return {template_index, limits.memory_bytes, limits.disk_bytes, limits.pids};
}

const ProcessDriver::Language* ProcessDriver::Find(const std::string& language) const {
  for (const Language& candidate : languages_) {
    if (candidate.manifest.Answers(language)) return &candidate;
  }
  return nullptr;
}

std::size_t ProcessDriver::ChooseTemplate(const Language& language, std::string_view code) const {
  for (const Language::Variant& variant : language.variants) {
    const bool mentioned =
        std::any_of(variant.mentions.begin(), variant.mentions.end(),
                    [&](const std::string& word) { return code.find(word) != code.npos; });
    if (mentioned && client_->StateOf(variant.template_index).ready) return variant.template_index;
  }
  return language.template_index;
}

std::optional<ReadyFork> ProcessDriver::TakePooled(const PoolKey& key) {
  std::lock_guard lock(mutex_);
  const auto found = pools_.find(key);
  std::optional<ReadyFork> taken;
  while (found != pools_.end() && !found->second.forks.empty() && !taken) {
    ReadyFork fork = std::move(found->second.forks.front());
    found->second.forks.pop_front();
    // One that died while it waited says so on its status socket.
    pollfd polled{fork.status.get(), POLLIN, 0};
    if (::poll(&polled, 1, 0) == 0) taken = std::move(fork);
  }
  if (found != pools_.end()) {
    found->second.failing = false;
    wanted_.notify_one();
  }
  ++(taken ? stats_.pool_hits : stats_.pool_misses);
  return taken;
}

Result<std::unique_ptr<Sandbox>> ProcessDriver::Fork(const std::string& language,
                                                     const schema::Limits& limits) {
  return ForkFor(language, limits, {}, schema::EntryKind::kScript);
}

Result<std::unique_ptr<Sandbox>> ProcessDriver::ForkFor(const std::string& language,
                                                        const schema::Limits& limits,
                                                        std::string_view code,
                                                        schema::EntryKind entry) {
  auto sandbox = ForkProcess(language, limits, code, entry);
  if (!sandbox) return Fail(sandbox.error());
  return std::move(*sandbox);
}

Result<std::unique_ptr<ProcessSandbox>> ProcessDriver::ForkProcess(const std::string& language,
                                                                   const schema::Limits& limits,
                                                                   std::string_view code,
                                                                   schema::EntryKind entry) {
  const Language* found = Find(language);
  if (found == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "unknown language " + language);
  }
  if (!found->status.ready) {
    return Fail(ErrorCode::kUnavailable, language + " is not available: " + found->status.reason);
  }
  if (!found->plan.Runs(entry)) {
    return Fail(ErrorCode::kInvalidArgument, NoSuchEntry(found->status.id, entry));
  }
  const auto start = steady_clock::now();
  auto fork = Take(ChooseTemplate(*found, code), limits);
  if (!fork) return Fail(fork.error());
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start);
  auto sandbox = std::make_unique<ProcessSandbox>(std::move(*fork), found->plan, limits, took);
  if (!sandbox->CanBeCancelled()) {
    return Fail(ErrorCode::kUnavailable, "descriptors ran out (RLIMIT_NOFILE)");
  }
  return sandbox;
}

Result<std::unique_ptr<Service>> ProcessDriver::Serve(const std::string& language,
                                                      const schema::Limits& limits,
                                                      const schema::Source& source) {
  const Language* found = Find(language);
  if (found == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "unknown language " + language);
  }
  if (!found->status.ready) {
    return Fail(ErrorCode::kUnavailable, language + " is not available: " + found->status.reason);
  }
  auto fork = Take(found->template_index, limits);
  if (!fork) return Fail(fork.error());
  auto service = ProcessService::Start(std::move(*fork), found->plan, source);
  if (!service) return Fail(service.error());
  return std::unique_ptr<Service>(std::move(*service));
}

Result<ReadyFork> ProcessDriver::Take(std::size_t template_index, const schema::Limits& limits) {
  auto pooled = TakePooled(KeyOf(template_index, limits));
  if (!pooled) return client_->Fork(template_index, limits, steady_clock::now() + seconds(10));
  if (options_.runs_once) {  // whoever watches the machine reads that; here it only takes time
    pooled->cpu_usage.Reset();
    pooled->memory_peak.Reset();
  }
  return std::move(*pooled);
}

const languages::Manifest* ProcessDriver::ManifestOf(const std::string& language) const {
  const Language* found = Find(language);
  return found == nullptr ? nullptr : &found->manifest;
}

Result<std::unique_ptr<ProcessSandbox>> ProcessDriver::ForkCompile(const std::string& language) {
  const Language* found = Find(language);
  if (found == nullptr || found->compile_plan.command.empty()) {
    return Fail(ErrorCode::kInvalidArgument, language + " has no compile command");
  }
  if (!found->status.ready) {
    return Fail(ErrorCode::kUnavailable, language + " is not available: " + found->status.reason);
  }
  const schema::Limits& limits = found->manifest.compile->limits;
  auto fork = Take(kExecTemplate, limits);
  if (!fork) return Fail(fork.error());
  auto sandbox = std::make_unique<ProcessSandbox>(std::move(*fork), found->compile_plan, limits,
                                                  std::chrono::microseconds(0));
  if (!sandbox->CanBeCancelled()) {
    return Fail(ErrorCode::kUnavailable, "descriptors ran out (RLIMIT_NOFILE)");
  }
  return sandbox;
}

std::map<ProcessDriver::PoolKey, schema::Limits> ProcessDriver::WantedPools() const {
  std::map<PoolKey, schema::Limits> wanted;
  for (const Language& language : languages_) {
    if (!language.status.ready) continue;
    const schema::Limits& limits = language.status.default_limits;
    wanted.emplace(KeyOf(language.template_index, limits), limits);
    for (const Language::Variant& variant : language.variants) {
      wanted.emplace(KeyOf(variant.template_index, limits), limits);
    }
    if (!language.compile_plan.command.empty()) {
      const schema::Limits& compile = language.manifest.compile->limits;
      wanted.emplace(KeyOf(kExecTemplate, compile), compile);
    }
  }
  return wanted;
}

Result<void> ProcessDriver::FillPools(Deadline deadline) {
  for (const auto& [key, limits] : WantedPools()) {
    // A variant that does not come up is one that ChooseTemplate() does not choose.
    client_->WaitForTemplate(key.template_index, deadline);
    if (const auto state = client_->StateOf(key.template_index); !state.ready) {
      options_.log.Warn("pool.left_empty", {{"reason", state.reason}});
      continue;
    }
    std::unique_lock lock(mutex_);
    while (pools_[key].forks.size() < options_.pool_size) {
      lock.unlock();
      auto fork = client_->Fork(key.template_index, limits, deadline);
      if (!fork) return Fail(fork.error());
      lock.lock();
      pools_[key].forks.push_back(std::move(*fork));
    }
  }
  return {};
}

void ProcessDriver::KeepPoolsFull() {
  std::map<PoolKey, schema::Limits> wanted = WantedPools();
  std::unique_lock lock(mutex_);
  for (const auto& [key, limits] : wanted) pools_[key];
  while (!closing_) {
    // The emptiest first, so that one busy language does not starve another's pool.
    const PoolKey* neediest = nullptr;
    std::size_t fewest = options_.pool_size;
    for (const auto& [key, limits] : wanted) {
      const Pool& pool = pools_[key];
      if (pool.failing || pool.forks.size() >= fewest) continue;
      neediest = &key;
      fewest = pool.forks.size();
    }
    if (neediest == nullptr) {
      wanted_.wait(lock);
      continue;
    }
    lock.unlock();
    auto fork = client_->Fork(neediest->template_index, wanted[*neediest],
                              steady_clock::now() + seconds(10));
    lock.lock();
    Pool& pool = pools_[*neediest];
    if (fork) {
      pool.forks.push_back(std::move(*fork));
    } else {
      pool.failing = true;
      options_.log.Warn("pool.refill_failed", {{"reason", fork.error().message}});
    }
  }
}

std::vector<LanguageStatus> ProcessDriver::Languages() const {
  std::vector<LanguageStatus> all;
  for (const Language& language : languages_) {
    LanguageStatus status = language.status;
    status.functions = language.plan.functions;
    // A template that died since is being started again; until then its language is not ready.
    if (status.ready && !client_->StateOf(language.template_index).ready) {
      status.ready = false;
      status.reason = client_->StateOf(language.template_index).reason;
    }
    all.push_back(std::move(status));
  }
  return all;
}

DriverStats ProcessDriver::Stats() const {
  std::lock_guard lock(mutex_);
  DriverStats stats = stats_;
  for (const auto& [key, pool] : pools_) stats.pool_ready += pool.forks.size();
  return stats;
}

std::vector<std::string> ProcessDriver::MissingProtections() const {
  return NamesOfMissing(client_->protections());
}

}  // namespace forkbox::sandbox
