#include "api/zeroboot.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <tl/expected.hpp>
#include <utility>

#include "api/account_refusal.h"
#include "api/error_response.h"
#include "api/json_type.h"
#include "api/paced_batch.h"
#include "base/uuid.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using schema::ExecutionId;
using schema::Outcome;
using schema::Reason;

constexpr std::string_view kJsonType = "application/json";
constexpr int kInfrastructureFailure = -1;
// How long an item of a batch waits for others of its account to end.
constexpr std::chrono::milliseconds kItemPatience{60'000};

// A request that was not accepted.
struct Problem {
  int status = 400;
  std::string message;
  http::Fields headers;
};
template <class T>
using Parsed = tl::expected<T, Problem>;

std::string Dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void Send(http::Reply& reply, const Problem& problem) {
  reply.Send(problem.status, kJsonType, Dump({{"error", problem.message}}), problem.headers);
}

Parsed<json> ParseBody(const http::Call& call, const schema::RequestSchema& request_schema) {
  if (!IsJsonType(call.Header("Content-Type"))) {
    return tl::unexpected(
        Problem{415, "Expected request with `Content-Type: application/json`", {}});
  }
  Result<json> body = schema::ParseJson(call.body);
  if (!body) {
    return tl::unexpected(
        Problem{400, "Failed to parse the request body as JSON: " + body.error().message, {}});
  }
  if (Result<void> valid = request_schema.Validate(*body); !valid) {
    return tl::unexpected(Problem{
        422,
        "Failed to deserialize the JSON body into the target type: " + valid.error().message,
        {}});
  }
  return *std::move(body);
}

// One item of a request, understood but not yet accepted.
struct Item {
  ExecutionId id;
  schema::Execution execution;
  std::chrono::seconds timeout{};
  std::string language_as_given;
  bool language_ready = false;
};

// `where` is "" or "executions[3].", in front of the field a problem is with.
Parsed<Item> ToItem(json& request, const std::string& where,
                    const ZerobootDialect::Options& options, LanguageCatalog& languages) {
  Item item;
  item.language_as_given = request.value("language", "python");
  std::optional<sandbox::LanguageStatus> language = languages.Find(item.language_as_given);
  if (!language && languages.All()->empty()) {
    return tl::unexpected(Problem{503, "no runner has been seen yet", {{"Retry-After", "1"}}});
  }
  if (!language) {
    return tl::unexpected(Problem{
        400, where + "language: unknown language, known are: " + languages.KnownNames(), {}});
  }
  auto& code = request["code"].get_ref<std::string&>();
  if (code.size() > options.max_code_bytes) {
    return tl::unexpected(Problem{
        413, where + "code: longer than " + std::to_string(options.max_code_bytes) + " bytes", {}});
  }
  const auto max_timeout = static_cast<std::uint64_t>(options.max_timeout.count());
  const std::uint64_t timeout =
      request.value("timeout_seconds", static_cast<std::uint64_t>(options.default_timeout.count()));
  item.timeout = std::chrono::seconds(std::min(timeout, max_timeout));
  item.id = ExecutionId(NewUuidV7());
  schema::Execution& execution = item.execution;
  execution.id = item.id;
  execution.dialect = "zeroboot";
  execution.language = language->id;
  execution.source.code = std::move(code);
  execution.limits = language->default_limits;
  execution.limits.wall = item.timeout;
  // This API knows wall time only, so several busy threads must not end it before that.
  execution.limits.cpu = std::max(execution.limits.cpu, 4 * execution.limits.wall);
  const auto isolation = ChooseIsolation(options.isolation, language->id, execution.limits,
                                         *languages.All(), languages.Vm().get());
  item.language_ready = isolation.has_value();
  if (isolation) {
    execution.isolation = *isolation;
  } else if (const auto kind = isolation.error().kind;
             kind != IsolationProblem::Kind::kLanguage && kind != IsolationProblem::Kind::kMemory) {
    // The memory is the language's own, which no request changes: to ask again is of no use then.
    return tl::unexpected(
        Problem{503, "isolation: " + isolation.error().message, {{"Retry-After", "10"}}});
  }
  execution.delivery = schema::Delivery::kWait;
  execution.priority = schema::Priority::kInteractive;
  return item;
}

// Two decimals, as the figures in the specification.
double Milliseconds(std::chrono::microseconds time) {
  return std::round(static_cast<double>(time.count()) / 10.0) / 100.0;
}

ordered_json Response(const ExecutionId& id, std::string out, std::string err, int exit_code,
                      const schema::Timings& timings) {
  const auto exec = timings.compile + timings.exec;
  return {{"id", id.str()},
          {"stdout", std::move(out)},
          {"stderr", std::move(err)},
          {"exit_code", exit_code},
          {"fork_time_ms", Milliseconds(timings.fork)},
          {"exec_time_ms", Milliseconds(exec)},
          {"total_time_ms", Milliseconds(std::max(timings.total, timings.fork + exec))}};
}

std::string NoTemplate(const Item& item) {
  return Dump(Response(item.id, "", "No template for language: " + item.language_as_given,
                       kInfrastructureFailure, {}));
}

// An item of a batch that was not accepted: its fellows may have been.
std::string NotSent(const Item& item, const Error& error) {
  return Dump(Response(item.id, "", "Send failed: " + error.message, kInfrastructureFailure, {}));
}

std::string WithLine(std::string text, std::string_view line) {
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text.append(line) += '\n';
}

// As a shell has it: 128 and the signal's number.
int ShellCode(const Outcome& outcome, int signal_if_unknown) {
  return 128 + outcome.signal.value_or(signal_if_unknown);
}

Problem ProblemOf(const Error& error, const store::Acceptance& account,
                  const store::AcceptTerms& terms, const ZerobootDialect::Parts& parts) {
  Problem problem{HttpStatusOf(error.code), error.message, {}};
  if (const auto refusal = RefusalOf(account, terms)) {
    problem.headers = HeadersOf(*refusal, parts.clock.UnixMillis());
  } else if (error.code == ErrorCode::kQueueFull) {
    const Result<queue::Depth> depth = parts.service.Depth(schema::Priority::kInteractive);
    problem.headers = RateLimitHeaders(depth ? depth->limit : 0, 0, std::chrono::seconds(1),
                                       parts.clock.UnixMillis());
  } else if (error.code == ErrorCode::kUnavailable) {
    problem.headers = {{"Retry-After", "1"}};
  }
  return problem;
}

// Collects the results of a batch in request order and answers with the last one.
class BatchReply {
 public:
  BatchReply(http::Reply reply, std::size_t items, store::AcceptTerms terms,
             ZerobootDialect::Parts parts)
      : reply_(std::move(reply)),
        terms_(std::move(terms)),
        parts_(parts),
        results_(items),
        missing_(items) {}

  void Put(std::size_t index, std::string result) {
    Put(index, std::move(result), std::nullopt, {});
  }
  void PutRefused(std::size_t index, std::string result, Error error,
                  const store::Acceptance& account) {
    Put(index, std::move(result), std::move(error), account);
  }

 private:
  void Put(std::size_t index, std::string result, std::optional<Error> refused,
           const store::Acceptance& account) {
    {
      const std::lock_guard lock(mutex_);
      results_[index] = std::move(result);
      if (refused) {
        ++refused_;
        first_refusal_ = std::move(*refused);
        account_ = account;
      }
      if (--missing_ > 0) return;
    }
    // Nobody else comes here any more.
    if (refused_ == results_.size())
      return Send(reply_, ProblemOf(first_refusal_, account_, terms_, parts_));
    std::string body = R"({"results":[)";
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (i > 0) body += ',';
      body += results_[i];
    }
    reply_.Send(200, kJsonType, body += "]}");
  }

  http::Reply reply_;
  const store::AcceptTerms terms_;
  const ZerobootDialect::Parts parts_;
  std::mutex mutex_;
  std::vector<std::string> results_;
  std::size_t missing_;
  std::size_t refused_ = 0;
  Error first_refusal_;
  store::Acceptance account_;  // of that one
};

}  // namespace

std::string ZerobootResponse(const ExecutionId& id, const Outcome& outcome,
                             std::chrono::seconds timeout) {
  std::string out = outcome.stdout_text;
  std::string err = outcome.stderr_text;
  int exit_code = kInfrastructureFailure;
  bool own_output = true;  // what the program wrote is in the answer
  switch (outcome.reason) {
    case Reason::kExited:
      exit_code = outcome.exit_code.value_or(0);
      break;
    case Reason::kSignalled:
      exit_code = ShellCode(outcome, 9);
      break;
    case Reason::kOutOfMemory:
      exit_code = ShellCode(outcome, 9);
      err = WithLine(std::move(err), "Killed: memory limit exceeded");
      break;
    case Reason::kWallTimeout:
    case Reason::kCpuTimeout:
      own_output = false;
      err = "Execution timed out after " + std::to_string(timeout.count()) + "s";
      break;
    case Reason::kCompileFailed:
      exit_code = outcome.exit_code.value_or(1);
      err = WithLine(std::move(err), outcome.compile_output);
      break;
    case Reason::kCancelled:
      own_output = false;
      err = "Execution cancelled";
      break;
    case Reason::kQueueDeadline:
      own_output = false;
      err = "Execution timed out in the queue";
      break;
    case Reason::kSandboxFailed:
      own_output = false;
      err = "Fork failed: " + outcome.message;
      break;
    case Reason::kRunnerLost:
      err = WithLine(std::move(err), "Process exited unexpectedly");
      break;
  }
  if (!own_output) out.clear();
  ordered_json response = Response(id, std::move(out), std::move(err), exit_code, outcome.timings);
  if (own_output && outcome.stdout_truncated) response["stdout_truncated"] = true;
  if (own_output && outcome.stderr_truncated) response["stderr_truncated"] = true;
  return Dump(response);
}

Result<ZerobootDialect> ZerobootDialect::Create(Options options, Parts parts) {
  Result<schema::RequestSchema> exec = schema::RequestSchema::Load("zeroboot_exec");
  if (!exec) return Fail(ErrorCode::kInternal, exec.error().message);
  Result<schema::RequestSchema> batch = schema::RequestSchema::Load("zeroboot_batch");
  if (!batch) return Fail(ErrorCode::kInternal, batch.error().message);
  return ZerobootDialect(std::move(options), parts, *std::move(exec), *std::move(batch));
}

ZerobootDialect::ZerobootDialect(Options options, Parts parts, schema::RequestSchema exec,
                                 schema::RequestSchema batch)
    : options_(std::move(options)),
      parts_(parts),
      exec_schema_(std::move(exec)),
      batch_schema_(std::move(batch)) {}

void ZerobootDialect::RegisterOn(http::Server& server) {
  for (const char* path : {"/v1/exec", "/exec"}) {
    server.Route(http::Method::kPost, path, [this](http::Call& call) { Exec(call); });
  }
  server.Route(http::Method::kPost, "/v1/exec/batch", [this](http::Call& call) { Batch(call); });
  for (const char* path : {"/v1/health", "/health"}) {
    server.Route(http::Method::kGet, path, [this](http::Call& call) { Health(call); });
  }
}

http::AnswerBody ZerobootDialect::ErrorBody(const http::OwnAnswer& answer) {
  return {std::string(kJsonType), Dump({{"error", answer.message}})};
}

std::size_t ZerobootDialect::BodyLimit(std::string_view path) const {
  return path == "/v1/exec/batch" ? options_.max_batch_body_bytes : 0;
}

void ZerobootDialect::Exec(http::Call& call) {
  Parsed<json> body = ParseBody(call, exec_schema_);
  if (!body) return Send(call.reply, body.error());
  tl::expected<KeyIdentity, Refusal> identity =
      parts_.admission.Admit(call.fields, call.client_address, Right::kExecute);
  if (!identity) {
    const Refusal& refusal = identity.error();
    return Send(call.reply, {refusal.status, refusal.message, refusal.headers});
  }
  Parsed<Item> item = ToItem(*body, "", options_, parts_.languages);
  if (!item) return Send(call.reply, item.error());
  if (!item->language_ready) {
    call.reply.Send(200, kJsonType, NoTemplate(*item));
    return;
  }

  item->execution.owner = identity->owner;
  item->execution.key_id = identity->key_id;
  item->execution.client_address = parts_.admission.AddressOf(call.fields, call.client_address);
  item->execution.request_id = call.request_id;
  const ExecutionId id = item->id;
  const store::AcceptTerms terms = TermsOf(*identity, /*per_minute=*/false);
  parts_.service.Submit(std::move(item->execution), terms,
                        [reply = call.reply, id, timeout = item->timeout, terms, parts = parts_](
                            Result<Outcome> outcome, const store::Acceptance& account) mutable {
                          if (!outcome)
                            return Send(reply, ProblemOf(outcome.error(), account, terms, parts));
                          reply.Send(200, kJsonType, ZerobootResponse(id, *outcome, timeout));
                        });
  // After Submit, for there must be something to cancel; if it has been answered, nothing happens.
  call.reply.OnGone([service = &parts_.service, id] { service->Cancel(id); });
}

void ZerobootDialect::Batch(http::Call& call) {
  Parsed<json> body = ParseBody(call, batch_schema_);
  if (!body) return Send(call.reply, body.error());
  json& requests = (*body)["executions"];
  if (requests.size() > options_.max_batch_items) {
    return Send(call.reply, {422,
                             "executions: more than " + std::to_string(options_.max_batch_items) +
                                 " items in one batch",
                             {}});
  }
  tl::expected<KeyIdentity, Refusal> identity =
      parts_.admission.Admit(call.fields, call.client_address, Right::kExecute);
  if (!identity) {
    const Refusal& refusal = identity.error();
    return Send(call.reply, {refusal.status, refusal.message, refusal.headers});
  }
  // All are understood before the first one is started: a batch is taken whole or not at all.
  std::vector<Item> items;
  items.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Parsed<Item> item =
        ToItem(requests[i], "executions[" + std::to_string(i) + "].", options_, parts_.languages);
    if (!item) return Send(call.reply, item.error());
    items.push_back(*std::move(item));
  }
  if (items.empty()) {
    call.reply.Send(200, kJsonType, R"({"results":[]})");
    return;
  }

  const store::AcceptTerms terms = TermsOf(*identity, /*per_minute=*/false);
  // Shared by the items' callbacks, which come from any thread in any order.
  auto batch = std::make_shared<BatchReply>(call.reply, items.size(), terms, parts_);
  const std::size_t count = items.size();
  for (Item& item : items) {
    item.execution.owner = identity->owner;
    item.execution.key_id = identity->key_id;
    item.execution.client_address = parts_.admission.AddressOf(call.fields, call.client_address);
    item.execution.request_id = call.request_id;
    item.execution.limits.output_bytes = std::min<std::uint64_t>(
        item.execution.limits.output_bytes, options_.max_batch_output_bytes / count);
  }
  const auto start = [service = &parts_.service, terms, batch,
                      held = std::make_shared<std::vector<Item>>(std::move(items))](
                         std::size_t i, std::function<void()> ended) -> std::optional<ExecutionId> {
    Item& item = (*held)[i];
    if (!item.language_ready) {
      batch->Put(i, NoTemplate(item));
      ended();
      return std::nullopt;
    }
    schema::Execution execution = std::move(item.execution);
    item.execution = {};
    service->Submit(
        std::move(execution), terms,
        [batch, i, item, ended = std::move(ended)](Result<Outcome> outcome,
                                                   const store::Acceptance& account) {
          if (outcome) {
            batch->Put(i, ZerobootResponse(item.id, *outcome, item.timeout));
          } else {
            batch->PutRefused(i, NotSent(item, outcome.error()), outcome.error(), account);
          }
          ended();
        },
        kItemPatience);
    return item.id;
  };
  const auto paced =
      PacedBatch::Run(count, identity->limits.concurrency, start,
                      [service = &parts_.service](const ExecutionId& id) { service->Cancel(id); });
  call.reply.OnGone([paced] { paced->Abandon(); });
}

void ZerobootDialect::Health(http::Call& call) {
  bool any_ready = false;
  bool all_ready = true;
  ordered_json templates = ordered_json::object();
  for (const sandbox::LanguageStatus& language : *parts_.languages.All()) {
    any_ready |= language.ready;
    all_ready &= language.ready;
    // This API's name for it.
    const std::string name = language.id == "javascript" ? "node" : language.id;
    ordered_json entry{{"ready", language.ready},
                       {"memory_mb", language.default_limits.memory_bytes >> 20}};
    if (!language.ready) entry["reason"] = language.reason;
    templates[name] = std::move(entry);
  }
  const bool store_answers = parts_.store.Status().has_value();
  const bool serving = any_ready && store_answers;
  ordered_json health{{"status", serving && all_ready ? "ok" : "degraded"},
                      {"templates", std::move(templates)}};
  if (!store_answers) health["error"] = "the store does not answer";
  if (const auto vm = parts_.languages.Vm()) {
    health["vm"] = {{"state", sandbox::vm::ToString(vm->status.state)},
                    {"accelerator", vm->status.accelerator}};
  }
  // So that nobody is deceived.
  if (const auto missing = parts_.store.MissingProtections(); !missing.empty()) {
    health["missing_protections"] = missing;
  }
  call.reply.Send(serving ? 200 : 503, kJsonType, Dump(health), {{"Cache-Control", "no-store"}});
}

}  // namespace forkbox::api
