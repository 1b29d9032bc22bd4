#include "api/nca.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

#include "api/account_refusal.h"
#include "api/error_response.h"
#include "base/uuid.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using schema::Execution;
using schema::ExecutionId;
using schema::OwnerId;
using std::chrono::milliseconds;

constexpr std::string_view kJsonType = "application/json";

// Whoever is told to come back is told when.
http::Fields RetryHeaders(int status) {
  if (status != 429 && status != 503) return {};
  return {{"Retry-After", "1"}};
}

// By a limit of its account.
void SendRefused(http::Reply& reply, const NcaReply& answer, const AccountRefusal& refusal,
                 const Clock& clock) {
  reply.Send(answer.status, kJsonType, answer.body, HeadersOf(refusal, clock.UnixMillis()));
}

std::uint64_t WaitingIn(ExecutionService& service) {
  const Result<queue::Depth> depth = service.Depth(schema::Priority::kBackground);
  return depth ? depth->waiting : 0;
}

// A job that we could not run: an envelope like that of any other that failed.
NcaReply Failure(int status, const std::string& error, const ExecutionId& id,
                 const std::optional<std::string>& client_id, const NcaProcess& process,
                 std::uint64_t queue_length, milliseconds ran) {
  return NcaAnswer({.endpoint = kNcaExecutePath,
                    .code = status,
                    .id = client_id,
                    .job_id = id.str(),
                    .message = {{"error", error}},
                    .ran = ran,
                    .process = process,
                    .queue_length = queue_length});
}

// What the answer takes of an execution, and not its code.
Execution Remembered(const Execution& execution) {
  Execution kept;
  kept.id = execution.id;
  kept.delivery = execution.delivery;
  kept.client_reference = execution.client_reference;
  kept.dialect_context = execution.dialect_context;
  kept.created_unix_ms = execution.created_unix_ms;
  return kept;
}

}  // namespace

void SendNca(http::Reply& reply, const NcaReply& answer) {
  reply.Send(answer.status, kJsonType, answer.body, RetryHeaders(answer.status));
}

void SendNcaProblem(http::Reply& reply, const NcaProblem& problem) {
  reply.Send(problem.status, kJsonType, schema::DumpJson({{"message", problem.message}}),
             problem.headers);
}

Result<NcaDialect> NcaDialect::Create(Options options, Parts parts) {
  Result<PythonSchema> execute = PythonSchema::Load("nca_execute");
  if (!execute) return Fail(execute.error());
  Result<PythonSchema> job_status = PythonSchema::Load("nca_job_status");
  if (!job_status) return Fail(job_status.error());
  Result<PythonSchema> jobs_status = PythonSchema::Load("nca_jobs_status");
  if (!jobs_status) return Fail(jobs_status.error());
  return NcaDialect(std::move(options), std::move(parts),
                    {*std::move(execute), *std::move(job_status), *std::move(jobs_status)});
}

NcaDialect::NcaDialect(Options options, Parts parts, Schemas schemas)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      schemas_(std::move(schemas)),
      refusals_(std::make_shared<NcaRefusals>(options_.max_refusals)) {
  process_.pid = ::getpid();
  std::random_device random;
  // As large as an address, which every JSON parser reads exactly.
  process_.queue_id = (std::uint64_t{random()} << 32 | random()) >> 17;
}

void NcaDialect::RegisterOn(http::Server& server) {
  Route(server, http::Method::kPost, std::string(kNcaExecutePath), Right::kExecute,
        &NcaDialect::Execute);
  RegisterToolkitOn(server);
}

tl::expected<KeyIdentity, NcaProblem> NcaDialect::Admit(const http::Call& call, Right right) {
  auto identity =
      parts_.admission.AdmitByHeader("x-api-key", call.fields, call.client_address, right);
  if (identity) return *std::move(identity);
  Refusal& refusal = identity.error();
  return tl::unexpected(NcaProblem{
      refusal.status, refusal.status == 401 ? "Unauthorized" : std::move(refusal.message),
      std::move(refusal.headers)});
}

void NcaDialect::Route(http::Server& server, http::Method method, const std::string& path,
                       Right right, Handler handler) {
  server.Route(method, path, [this, right, handler](http::Call& call) {
    const auto identity = Admit(call, right);
    if (!identity) return SendNcaProblem(call.reply, identity.error());
    (this->*handler)(call, *identity);
  });
}

std::size_t NcaDialect::BodyLimit(std::string_view path) const {
  return path == kNcaExecutePath ? options_.max_body_bytes : 0;
}

std::optional<http::AnswerBody> NcaDialect::ErrorBody(const http::OwnAnswer& answer) {
  const bool ours = answer.path.starts_with("/v1/code/") ||
                    answer.path.starts_with("/v1/toolkit/") || answer.path == "/authenticate";
  if (!ours) return std::nullopt;
  return http::AnswerBody{std::string(kJsonType), schema::DumpJson({{"message", answer.message}})};
}

std::uint64_t NcaDialect::Waiting() const { return WaitingIn(parts_.service); }

// ---- execute ------------------------------------------------------------------------------------

void NcaDialect::Execute(http::Call& call, const KeyIdentity& identity) {
  auto body = ParseNcaBody(call, schemas_.execute);
  if (!body) return SendNcaProblem(call.reply, body.error());
  auto request = ToNcaExecuteRequest(*std::move(body), options_.request);
  if (!request) return SendNcaProblem(call.reply, request.error());
  const bool queued = request->webhook_url.has_value();
  const bool has_webhook = queued && !request->webhook_url->empty();
  if (has_webhook) {
    if (const Result<void> fits = parts_.check_webhook_url(*request->webhook_url); !fits) {
      return SendNcaProblem(call.reply, {400, "Invalid payload: " + fits.error().message, {}});
    }
  }

  Execution execution;
  execution.id = ExecutionId(NewUuidV7());
  const std::optional<sandbox::LanguageStatus> python = parts_.languages.Find("python");
  const auto unavailable = [&](const std::string& why, int status = 503) {
    SendNca(call.reply, Failure(status, "Execution failed: " + why, execution.id, request->id,
                                process_, Waiting(), {}));
  };
  const bool in_process = options_.isolation == IsolationChoice::kProcess;
  if (!python || (in_process && !python->ready)) {
    return unavailable("python is not available" +
                       (python && !python->reason.empty() ? ": " + python->reason : ""));
  }
  const auto isolation = ChooseIsolation(options_.isolation, python->id, python->default_limits,
                                         *parts_.languages.All(), parts_.languages.Vm().get());
  if (!isolation) {
    // The memory is Python's own, which no request changes: to ask again is of no use.
    const bool never = isolation.error().kind == IsolationProblem::Kind::kMemory;
    return unavailable(isolation.error().message, never ? 500 : 503);
  }
  execution.isolation = *isolation;
  execution.owner = identity.owner;
  execution.key_id = identity.key_id;
  execution.client_address = parts_.admission.AddressOf(call.fields, call.client_address);
  execution.dialect = "nca";
  execution.language = python->id;
  execution.source.code = std::move(request->code);
  execution.source.entry = schema::EntryKind::kFunction;
  execution.limits = python->default_limits;
  execution.limits.wall = request->timeout;
  // This API knows wall time only, so several busy threads must not end it before that.
  execution.limits.cpu = std::max(execution.limits.cpu, 4 * execution.limits.wall);
  execution.delivery = !queued       ? schema::Delivery::kWait
                       : has_webhook ? schema::Delivery::kWebhook
                                     : schema::Delivery::kPoll;
  execution.priority = queued ? schema::Priority::kBackground : schema::Priority::kInteractive;
  execution.request_id = call.request_id;
  execution.client_reference = request->id.value_or("");
  if (has_webhook) execution.webhook_url = *std::move(request->webhook_url);
  execution.dialect_context = NcaContext{.process = process_,
                                         .timeout = std::move(request->timeout_as_given),
                                         .has_id = request->id.has_value(),
                                         .stderr_is_error = options_.stderr_is_error}
                                  .ToText();
  execution.created_unix_ms = parts_.clock.UnixMillis();
  const store::AcceptTerms terms = TermsOf(identity, /*per_minute=*/false);
  if (queued) return Enqueue(call, std::move(execution), terms, std::move(request->id));
  RunNow(call, std::move(execution), terms, std::move(request->id));
}

void NcaDialect::RunNow(http::Call& call, Execution execution, const store::AcceptTerms& terms,
                        std::optional<std::string> client_id) {
  const ExecutionId id = execution.id;
  store::ExecutionRecord record;
  record.execution = Remembered(execution);
  parts_.service.Submit(
      std::move(execution), terms,
      [reply = call.reply, record = std::move(record), client_id = std::move(client_id), terms,
       process = process_, service = &parts_.service, clock = &parts_.clock](
          Result<schema::Outcome> outcome, const store::Acceptance& account) mutable {
        record.finished_unix_ms = clock->UnixMillis();
        if (outcome) {
          record.outcome = *std::move(outcome);
          return SendNca(reply, NcaDocument(record, WaitingIn(*service)));
        }
        const milliseconds ran(record.finished_unix_ms - record.execution.created_unix_ms);
        const NcaReply failure =
            Failure(HttpStatusOf(outcome.error().code), outcome.error().message,
                    record.execution.id, client_id, process, WaitingIn(*service), ran);
        if (const auto refusal = RefusalOf(account, terms)) {
          return SendRefused(reply, failure, *refusal, *clock);
        }
        SendNca(reply, failure);
      });
  // After Submit, for there must be something to cancel; if it has been answered, nothing happens.
  call.reply.OnGone([service = &parts_.service, id] { service->Cancel(id); });
}

void NcaDialect::Enqueue(http::Call& call, Execution execution, const store::AcceptTerms& terms,
                         std::optional<std::string> client_id) {
  const ExecutionId id = execution.id;
  const OwnerId owner = execution.owner;
  parts_.service.Enqueue(
      std::move(execution), terms, options_.max_queue_length,
      [reply = call.reply, id, owner, terms, client_id = std::move(client_id), process = process_,
       most = options_.max_queue_length, refusals = refusals_,
       clock = &parts_.clock](const Result<void>& accepted, const queue::Depth& depth,
                              const store::Acceptance& account) mutable {
        if (accepted) {
          return SendNca(reply, NcaAccepted(id, client_id, process, depth.waiting, most));
        }
        const Error& error = accepted.error();
        if (error.code != ErrorCode::kQueueFull) {
          return SendNca(reply, Failure(HttpStatusOf(error.code), error.message, id, client_id,
                                        process, depth.waiting, {}));
        }
        if (const auto refusal = RefusalOf(account, terms)) {
          const NcaReply refused = NcaRefused(id, client_id, process, depth.waiting, error.message);
          refusals->Add(id, owner, clock->UnixMillis(), refused.body);
          return SendRefused(reply, refused, *refusal, *clock);
        }
        const bool lane_is_full = depth.limit != 0 && depth.waiting >= depth.limit;
        NcaReply refused =
            NcaRefused(id, client_id, process, depth.waiting,
                       most == 0 || (lane_is_full && depth.waiting < most)
                           ? error.message
                           : "MAX_QUEUE_LENGTH (" + std::to_string(most) + ") reached");
        refusals->Add(id, owner, clock->UnixMillis(), refused.body);
        SendNca(reply, refused);
      });
}

}  // namespace forkbox::api
