// The boxes of ProcessDriver: opening them, and what is forked into them for which program.
#include "runner/sandbox/common_environment.h"
#include "runner/sandbox/heap_size.h"
#include "runner/sandbox/process_driver.h"
#include "runner/sandbox/template/isolation.h"

namespace forkbox::sandbox {
namespace {

constexpr std::chrono::seconds kOpenPatience{10};

void AddAll(const std::map<std::string, std::string>& from,
            std::map<std::string, std::string>* to) {
  for (const auto& [name, value] : from) (*to)[name] = value;
}

}  // namespace

Result<std::unique_ptr<Box>> ProcessDriver::OpenBox(const BoxLimits& limits) {
  {
    std::lock_guard lock(mutex_);
    if (options_.max_boxes != 0 && open_boxes_ >= options_.max_boxes) {
      return Fail(ErrorCode::kUnavailable, "too many sandboxes");
    }
    ++open_boxes_;
  }
  const auto closed = [this] {
    std::lock_guard lock(mutex_);
    --open_boxes_;
  };
  auto place = client_->OpenBox(limits, std::chrono::steady_clock::now() + kOpenPatience);
  if (!place) {
    closed();
    return Fail(place.error());
  }
  return std::make_unique<ProcessBox>(
      client_.get(), std::move(*place), limits,
      [this, memory = limits.memory_bytes](const BoxProgram& program) {
        return PlanOf(program, memory);
      },
      closed);
}

Result<BoxPlan> ProcessDriver::PlanOf(const BoxProgram& program, std::uint64_t memory_bytes) const {
  if (!program.cwd.empty() && program.cwd[0] != '/') {
    return Fail(ErrorCode::kInvalidArgument, "cwd: must be absolute");
  }
  if (program.kind == BoxProgram::Kind::kSession) return PlanOfSession(program, memory_bytes);
  BoxPlan plan;
  std::map<std::string, std::string> env = CommonEnvironment();
  if (program.kind == BoxProgram::Kind::kAgent) {
    if (!agent_template_) return Fail(ErrorCode::kUnavailable, "no file agent is installed");
    plan.template_index = *agent_template_;
    plan.job.entry = ChildJob::Entry::kSession;
    plan.channel = true;
  } else {
    if (program.command.empty() || program.command[0].empty() || program.command[0][0] != '/') {
      return Fail(ErrorCode::kInvalidArgument, "command: must begin with an absolute path");
    }
    plan.template_index = kExecTemplate;
    plan.job.command = program.command;
    if (program.channel) plan.job.entry = ChildJob::Entry::kSession;
    plan.channel = program.channel;
    plan.job.cwd = kWorkPath;
  }
  for (const auto& [name, value] : program.env) env[name] = value;
  plan.job.env.assign(env.begin(), env.end());
  if (!program.cwd.empty()) plan.job.cwd = program.cwd;
  return plan;
}

Result<BoxPlan> ProcessDriver::PlanOfSession(const BoxProgram& program,
                                             std::uint64_t memory_bytes) const {
  const Language* language = Find(program.language);
  if (language != nullptr && language->manifest.session &&
      !language->manifest.session->as.empty()) {
    language = Find(language->manifest.session->as);
  }
  if (language == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "unknown language " + program.language);
  }
  if (!language->manifest.session) {
    return Fail(ErrorCode::kInvalidArgument, program.language + " has no sessions");
  }
  if (!language->status.ready) {
    return Fail(ErrorCode::kUnavailable,
                program.language + " is not available: " + language->status.reason);
  }
  const languages::Session& session = *language->manifest.session;
  BoxPlan plan;
  plan.channel = true;
  plan.job.entry = ChildJob::Entry::kSession;
  if (session.warm) {
    plan.template_index = *language->session_template;
    plan.job.args.push_back(std::string(kRuntimeTarget) + "/" + session.file);
  } else {
    plan.template_index = kExecTemplate;
    for (const std::string& word : session.command) {
      plan.job.command.push_back(WithHeapSize(word, memory_bytes));
    }
  }
  std::map<std::string, std::string> env = CommonEnvironment();
  AddAll(language->manifest.env, &env);
  AddAll(session.env, &env);
  for (const auto& [name, value] : program.env) env[name] = value;
  plan.job.env.assign(env.begin(), env.end());
  plan.job.cwd = program.cwd;
  return plan;
}

}  // namespace forkbox::sandbox
