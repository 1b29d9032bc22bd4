#include "api/nca_document.h"

#include <algorithm>
#include <utility>

#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using schema::Outcome;
using schema::Reason;
using std::chrono::milliseconds;

constexpr const char* kBuildNumber = FORKBOX_VERSION;

// `object` with one more member, whose value is JSON text already: a number that a program returned
// keeps all its digits.
std::string WithMember(const json& object, std::string_view name, std::string_view value) {
  std::string text = schema::DumpJson(object);
  text.back() = ',';
  return text.append("\"").append(name).append("\":").append(value).append("}");
}

json IdOrNull(const std::optional<std::string>& id) { return id ? json(*id) : json(nullptr); }

// Three decimals by nature. Wall clocks are set back at times.
double Seconds(milliseconds time) {
  return static_cast<double>(std::max<std::int64_t>(0, time.count())) / 1000.0;
}

milliseconds Between(std::int64_t from_unix_ms, std::int64_t to_unix_ms) {
  return milliseconds(std::max<std::int64_t>(0, to_unix_ms - from_unix_ms));
}

// How an execution ended, before it is wrapped.
struct Ending {
  int code = 500;
  json error;            // the message, unless the code is 200
  std::string response;  // JSON text, when it is
};

// {"error":…,"stdout":…} and what else the case has.
json ErrorOf(std::string error, const Outcome& outcome, int exit_code) {
  json object{
      {"error", std::move(error)}, {"stdout", outcome.stdout_text}, {"exit_code", exit_code}};
  if (outcome.stdout_truncated) object["stdout_truncated"] = true;
  if (outcome.stderr_truncated) object["stderr_truncated"] = true;
  return object;
}

Ending Failed(int code, std::string error) {
  return {.code = code, .error = {{"error", std::move(error)}}, .response = {}};
}

// The program is to blame. What it said on stderr is the error.
Ending Blamed(const Outcome& outcome, const std::string& said) {
  std::string error = said.empty() ? "Execution failed" : said;
  return {.code = 400,
          .error = ErrorOf(std::move(error), outcome, outcome.exit_code.value_or(1)),
          .response = {}};
}

// It left no result that could be shown.
Ending Unusable(std::string error, const Outcome& outcome, int exit_code) {
  Ending ending{
      .code = 500, .error = ErrorOf(std::move(error), outcome, exit_code), .response = {}};
  ending.error["stderr"] = outcome.stderr_text;
  return ending;
}

Ending EndingOfExited(const Outcome& outcome, bool stderr_is_error) {
  if (outcome.exit_code != 0) return Blamed(outcome, outcome.stderr_text);
  if (!outcome.value_json) {
    Ending ending = Unusable("Failed to parse execution result", outcome, 0);
    ending.error["reason"] = outcome.message;
    return ending;
  }
  if (stderr_is_error && !outcome.stderr_text.empty()) {
    return Blamed(outcome, outcome.stderr_text);
  }
  json response{{"stdout", outcome.stdout_text}, {"stderr", outcome.stderr_text}, {"exit_code", 0}};
  if (outcome.stdout_truncated) response["stdout_truncated"] = true;
  if (outcome.stderr_truncated) response["stderr_truncated"] = true;
  return {
      .code = 200, .error = {}, .response = WithMember(response, "result", *outcome.value_json)};
}

Ending EndingOf(const Outcome& outcome, const NcaContext& context) {
  switch (outcome.reason) {
    case Reason::kExited:
      return EndingOfExited(outcome, context.stderr_is_error);
    case Reason::kCompileFailed:
      return Blamed(outcome, outcome.compile_output);
    case Reason::kWallTimeout:
    case Reason::kCpuTimeout:
      return Failed(408, "Execution timed out after " + context.timeout + " seconds");
    case Reason::kQueueDeadline:
      return Failed(408, "Execution timed out in the queue");
    case Reason::kSignalled: {
      // As Python's subprocess has it: the signal's number, negative.
      const int signal = outcome.signal.value_or(9);
      return Unusable("Execution failed: killed by signal " + std::to_string(signal), outcome,
                      -signal);
    }
    case Reason::kOutOfMemory:
      return Unusable("Execution failed: out of memory", outcome, -9);
    case Reason::kCancelled:
      return Failed(500, "Execution failed: cancelled");
    case Reason::kRunnerLost:
      return Failed(500, "Execution failed: the runner was lost");
    case Reason::kSandboxFailed:
      break;
  }
  return Failed(500, "Execution failed: " + outcome.message);
}

}  // namespace

std::string NcaContext::ToText() const {
  return schema::DumpJson({{"pid", process.pid},
                           {"queue_id", process.queue_id},
                           {"timeout", timeout},
                           {"has_id", has_id},
                           {"stderr_is_error", stderr_is_error}});
}

NcaContext NcaContext::FromText(std::string_view text) {
  NcaContext context;
  const Result<json> parsed = schema::ParseJson(text);
  if (!parsed || !parsed->is_object()) return context;
  const auto read = [&](const char* name, auto* to) {
    const auto found = parsed->find(name);
    if (found != parsed->end() && found->type() == json(*to).type()) found->get_to(*to);
  };
  read("queue_id", &context.process.queue_id);
  std::uint64_t pid = 0;
  read("pid", &pid);
  context.process.pid = static_cast<std::int64_t>(pid);
  read("timeout", &context.timeout);
  read("has_id", &context.has_id);
  read("stderr_is_error", &context.stderr_is_error);
  return context;
}

NcaReply NcaAnswer(const NcaEnvelope& envelope) {
  json body{{"endpoint", envelope.endpoint},
            {"code", envelope.code},
            {"id", IdOrNull(envelope.id)},
            {"job_id", envelope.job_id},
            {"message", envelope.message},
            {"run_time", Seconds(envelope.ran)},
            {"queue_time", Seconds(envelope.queued)},
            {"total_time", Seconds(envelope.queued + envelope.ran)},
            {"pid", envelope.process.pid},
            {"queue_id", envelope.process.queue_id},
            {"queue_length", envelope.queue_length},
            {"build_number", kBuildNumber}};
  if (envelope.message.is_object()) {
    for (const char* name : {"error", "stdout", "stderr", "exit_code"}) {
      if (envelope.message.contains(name)) body[name] = envelope.message[name];
    }
  }
  return {envelope.code, WithMember(body, "response", envelope.response)};
}

NcaReply NcaDocument(const store::ExecutionRecord& record, std::uint64_t queue_length) {
  const schema::Execution& execution = record.execution;
  const NcaContext context = NcaContext::FromText(execution.dialect_context);
  Ending ending = record.outcome ? EndingOf(*record.outcome, context)
                                 : Failed(500, "Execution failed: no result");
  NcaEnvelope envelope{.endpoint = kNcaExecutePath,
                       .code = ending.code,
                       .job_id = execution.id.str(),
                       .process = context.process,
                       .queue_length = queue_length};
  if (context.has_id) envelope.id = execution.client_reference;
  if (ending.code == 200) {
    envelope.response = std::move(ending.response);
  } else {
    envelope.message = std::move(ending.error);
  }
  // Who waits for it does not care for what part of the time it waited.
  const bool waited_for = execution.delivery == schema::Delivery::kWait;
  const std::int64_t started =
      record.started_unix_ms != 0 ? record.started_unix_ms : record.finished_unix_ms;
  if (!waited_for) envelope.queued = Between(execution.created_unix_ms, started);
  envelope.ran = Between(waited_for ? execution.created_unix_ms : started, record.finished_unix_ms);
  return NcaAnswer(envelope);
}

NcaReply NcaAccepted(const schema::ExecutionId& id, const std::optional<std::string>& client_id,
                     const NcaProcess& process, std::uint64_t queue_length,
                     std::uint64_t max_queue_length) {
  return {202,
          schema::DumpJson({{"code", 202},
                            {"id", IdOrNull(client_id)},
                            {"job_id", id.str()},
                            {"message", "processing"},
                            {"pid", process.pid},
                            {"queue_id", process.queue_id},
                            {"max_queue_length",
                             max_queue_length == 0 ? json("unlimited") : json(max_queue_length)},
                            {"queue_length", queue_length},
                            {"build_number", kBuildNumber}})};
}

NcaReply NcaRefused(const schema::ExecutionId& id, const std::optional<std::string>& client_id,
                    const NcaProcess& process, std::uint64_t queue_length, std::string message) {
  return {429, schema::DumpJson({{"code", 429},
                                 {"id", IdOrNull(client_id)},
                                 {"job_id", id.str()},
                                 {"message", std::move(message)},
                                 {"pid", process.pid},
                                 {"queue_id", process.queue_id},
                                 {"queue_length", queue_length},
                                 {"build_number", kBuildNumber}})};
}

std::string NcaJobRecord(const schema::ExecutionId& id, const NcaProcess& process,
                         schema::State state, const std::string& response) {
  const json job{{"job_id", id.str()},
                 {"job_status", NcaJobStatus(state)},
                 {"process_id", process.pid},
                 {"queue_id", process.queue_id}};
  return WithMember(job, "response", response);
}

std::string_view NcaJobStatus(schema::State state) {
  switch (state) {
    case schema::State::kQueued:
      return "queued";
    case schema::State::kRunning:
      return "running";
    default:
      return "done";
  }
}

}  // namespace forkbox::api
