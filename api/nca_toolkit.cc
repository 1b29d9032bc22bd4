// The toolkit's endpoints of NcaDialect: who am I, what became of a job, which jobs are there.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "api/error_response.h"
#include "api/json_type.h"
#include "api/nca.h"
#include "base/uuid.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using schema::ExecutionId;
using schema::OwnerId;
using std::chrono::milliseconds;

constexpr double kDefaultSinceSeconds = 600;

NcaEnvelope WithError(NcaEnvelope envelope, int status, json message) {
  envelope.code = status;
  envelope.message = std::move(message);
  return envelope;
}

NcaEnvelope WithResponse(NcaEnvelope envelope, std::string response) {
  envelope.response = std::move(response);
  return envelope;
}

// Unix milliseconds `seconds` before `now`; any number will do.
std::int64_t Before(std::int64_t now_unix_ms, double seconds) {
  const double since = static_cast<double>(now_unix_ms) - seconds * 1000.0;
  if (!(since > 0)) return 0;
  // In the future there is nothing.
  constexpr double kFar = 1e17;
  return static_cast<std::int64_t>(std::min(since, kFar));
}

}  // namespace

void NcaDialect::RegisterToolkitOn(http::Server& server) {
  for (const char* path : {"/v1/toolkit/authenticate", "/authenticate"}) {
    server.Route(http::Method::kGet, path, [this](http::Call& call) { Authenticate(call); });
  }
  Route(server, http::Method::kPost, "/v1/toolkit/job/status", Right::kReadExecutions,
        &NcaDialect::JobStatus);
  Route(server, http::Method::kPost, "/v1/toolkit/jobs/status", Right::kReadExecutions,
        &NcaDialect::JobsStatus);
  Route(server, http::Method::kGet, "/v1/toolkit/test", Right::kReadAccount,
        &NcaDialect::TestStorage);
}

NcaEnvelope NcaDialect::OwnEnvelope(std::string_view endpoint) const {
  return {
      .endpoint = endpoint, .job_id = NewUuidV7(), .process = process_, .queue_length = Waiting()};
}

// Unlike elsewhere a wrong key gets a whole envelope.
void NcaDialect::Authenticate(http::Call& call) {
  const auto identity = Admit(call, Right::kReadAccount);
  if (!identity && identity.error().status != 401) {
    return SendNcaProblem(call.reply, identity.error());
  }
  // The name of both paths.
  NcaEnvelope envelope = OwnEnvelope("/authenticate");
  SendNca(call.reply, NcaAnswer(identity ? WithResponse(std::move(envelope), R"("Authorized")")
                                         : WithError(std::move(envelope), 401, "Unauthorized")));
}

void NcaDialect::JobStatus(http::Call& call, const KeyIdentity& identity) {
  const auto body = ParseNcaBody(call, schemas_.job_status);
  if (!body) return SendNcaProblem(call.reply, body.error());
  const std::int64_t asked_at = parts_.clock.UnixMillis();
  NcaEnvelope envelope = OwnEnvelope("/v1/toolkit/job/status");
  ExecutionId id((*body)["job_id"].get<std::string>());
  if (const auto refused = refusals_->Find(id, identity.owner)) {
    return SendNca(
        call.reply,
        NcaAnswer(WithResponse(std::move(envelope),
                               NcaJobRecord(id, process_, schema::State::kCancelled, *refused))));
  }
  parts_.service.Find(
      id, identity.owner,
      [reply = call.reply, id, asked_at, envelope = std::move(envelope),
       clock = &parts_.clock](const Result<store::ExecutionRecord>& record) mutable {
        envelope.ran = milliseconds(clock->UnixMillis() - asked_at);
        const bool unknown = record ? record->execution.dialect != "nca"
                                    : record.error().code == ErrorCode::kNotFound;
        if (unknown) {
          return SendNca(reply,
                         NcaAnswer(WithError(std::move(envelope), 404,
                                             {{"error", "Job not found"}, {"job_id", id.str()}})));
        }
        if (!record) {
          return SendNca(
              reply, NcaAnswer(WithError(
                         std::move(envelope), HttpStatusOf(record.error().code),
                         {{"error", "Failed to retrieve job status: " + record.error().message}})));
        }
        const std::string answer =
            record->outcome ? NcaDocument(*record, envelope.queue_length).body : "null";
        const NcaProcess process = NcaContext::FromText(record->execution.dialect_context).process;
        SendNca(reply, NcaAnswer(WithResponse(std::move(envelope),
                                              NcaJobRecord(id, process, record->state, answer))));
      });
}

void NcaDialect::JobsStatus(http::Call& call, const KeyIdentity& identity) {
  if (const auto shared = RefusalOfSharedKey(identity, "list jobs")) {
    return SendNcaProblem(call.reply, {shared->status, shared->message, {}});
  }
  double since_seconds = kDefaultSinceSeconds;
  if (!call.body.empty() && IsJsonType(call.Header("Content-Type"))) {
    const Result<json> body = schema::ParseJson(call.body);
    if (!body) return SendNcaProblem(call.reply, {400, "Bad Request: " + body.error().message, {}});
    if (const auto complaint = schemas_.jobs_status.Complaint(*body)) {
      return SendNcaProblem(call.reply, {400, "Invalid payload: " + *complaint, {}});
    }
    since_seconds = body->value("since_seconds", since_seconds);
  }
  const std::int64_t asked_at = parts_.clock.UnixMillis();
  const std::int64_t since = Before(asked_at, since_seconds);
  parts_.service.ListChangedSince(
      identity.owner, "nca", since, options_.max_listed_jobs,
      [reply = call.reply, asked_at, since, owner = identity.owner,
       envelope = OwnEnvelope("/v1/toolkit/jobs/status"), refusals = refusals_,
       clock = &parts_.clock](const Result<std::vector<store::ExecutionSummary>>& changed) mutable {
        envelope.ran = milliseconds(clock->UnixMillis() - asked_at);
        if (!changed) {
          return SendNca(
              reply, NcaAnswer(WithError(std::move(envelope), HttpStatusOf(changed.error().code),
                                         {{"error", "Failed to retrieve job statuses: " +
                                                        changed.error().message}})));
        }
        json jobs = json::object();
        for (const auto& job : *changed) jobs[job.id.str()] = NcaJobStatus(job.state);
        for (const auto& id : refusals->Since(since, owner)) jobs[id.str()] = "done";
        jobs[envelope.job_id] = "running";  // this very call
        SendNca(reply, NcaAnswer(WithResponse(std::move(envelope), schema::DumpJson(jobs))));
      });
}

void NcaDialect::TestStorage(http::Call& call, const KeyIdentity& /*identity*/) {
  SendNca(call.reply, NcaAnswer(WithError(OwnEnvelope("/v1/toolkit/test"), 500,
                                          "No cloud storage settings provided.")));
}

}  // namespace forkbox::api
