// What the languages of ProcessDriver are good for, found out by running something of each.
#include <algorithm>
#include <atomic>
#include <string_view>
#include <thread>

#include "runner/sandbox/process_driver.h"
#include "runner/sandbox/why_not.h"

namespace forkbox::sandbox {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

// A runtime that needs longer would be of no use to anybody. But a machine that is to be copied is
// built once, with patience: what it found out by mistake on a busy host, every copy would believe.
constexpr seconds kForkPatience{30};
constexpr seconds kPatienceForCopies{150};
constexpr std::string_view kVersionCommand = "version command";
constexpr std::string_view kSmokeProgram = "smoke program";

}  // namespace

void ProcessDriver::FallBackToCold(Language* language, const std::string& reason) {
  options_.log.Warn("template.failed", {{"language", language->status.id}, {"reason", reason}});
  language->status.reason = "served cold: " + reason;
  language->template_index = kExecTemplate;
  language->plan.functions = false;
  language->plan.command = language->manifest.run_command;
  for (std::string& word : language->plan.command) {
    if (word == "{file}") word = language->manifest.file_name;
  }
}

// A few at a time: a dozen runtimes started one after the other are most of our own start.
void ProcessDriver::ExamineAll(bool that_run_as_another) {
  std::atomic<std::size_t> next{0};
  const auto examine_some = [&] {
    for (std::size_t i = next++; i < languages_.size(); i = next++) {
      Language& language = languages_[i];
      const bool runs_as_another = !language.manifest.runs_as.empty();
      if (language.installed && runs_as_another == that_run_as_another) Examine(&language);
    }
  };
  std::vector<std::jthread> helpers;
  // Not so many that they would take each other's sandboxes.
  const std::size_t most = std::min<std::size_t>(4, options_.max_sandboxes / 16);
  const std::size_t cores = std::thread::hardware_concurrency();
  for (std::size_t i = 1; i < std::min(most, cores); ++i) helpers.emplace_back(examine_some);
  examine_some();
}

// Says the truth about one language by running its version command and its smoke program; what
// fails gets a second chance, unless that was by its time.
void ProcessDriver::Examine(Language* language) {
  const seconds fork_patience = options_.runs_once ? kPatienceForCopies : kForkPatience;
  const auto patience = steady_clock::now() + fork_patience;
  LanguageStatus& status = language->status;
  client_->WaitForTemplate(kExecTemplate, patience);
  if (language->template_index != kExecTemplate && language->manifest.runs_as.empty()) {
    client_->WaitForTemplate(language->template_index, patience);
    const auto state = client_->StateOf(language->template_index);
    if (!state.ready) FallBackToCold(language, state.known ? state.reason : "slow to start");
  }
  schema::Limits limits = status.default_limits;
  limits.wall = limits.cpu = options_.runs_once ? kPatienceForCopies : seconds(20);
  const auto run_once = [&](std::size_t template_index, RunPlan plan, const std::string& code) {
    schema::Outcome outcome;
    auto fork = client_->Fork(template_index, limits, steady_clock::now() + fork_patience);
    if (!fork) {
      outcome.message = fork.error().message;
      return outcome;
    }
    schema::Source source;
    source.code = code;
    return ProcessSandbox(std::move(*fork), std::move(plan), limits, {}).Run(source, {});
  };
  // What a single mishap decides here would hold until the next start of the service.
  const auto run = [&](std::string_view what, std::size_t template_index, const RunPlan& plan,
                       const std::string& code, const auto& good) {
    schema::Outcome outcome = run_once(template_index, plan, code);
    if (good(outcome) || outcome.state == schema::State::kTimeout) return outcome;
    options_.log.Warn("language.examined_again",
                      {{"language", status.id}, {"reason", WhyNot(what, outcome)}});
    return run_once(template_index, plan, code);
  };
  const auto completed = [](const schema::Outcome& outcome) {
    return outcome.state == schema::State::kCompleted;
  };
  RunPlan version_plan = language->plan;
  version_plan.command = language->manifest.version_command;
  const schema::Outcome version = run(kVersionCommand, kExecTemplate, version_plan, "", completed);
  const std::string& said = version.stdout_text.empty() ? version.stderr_text : version.stdout_text;
  if (completed(version)) status.version = said.substr(0, said.find('\n'));

  if (language->manifest.compile) {
    status.ready = completed(version);
    if (!status.ready) status.reason = WhyNot(kVersionCommand, version);
  } else {
    const auto right = [&](const schema::Outcome& outcome) {
      return completed(outcome) && outcome.stdout_text == language->manifest.smoke_stdout;
    };
    const schema::Outcome smoke = run(kSmokeProgram, language->template_index, language->plan,
                                      language->manifest.smoke_code, right);
    status.ready = right(smoke);
    if (!status.ready) status.reason = WhyNot(kSmokeProgram, smoke);
  }
  options_.log.Info("language.examined", {{"language", status.id},
                                          {"ready", status.ready},
                                          {"version", status.version},
                                          {"reason", status.reason}});
}

}  // namespace forkbox::sandbox
