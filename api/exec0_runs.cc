#include "api/exec0_runs.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "api/account_refusal.h"
#include "api/execution_document.h"
#include "api/execution_id_text.h"
#include "api/request_digest.h"
#include "base/rfc3339.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;
using schema::Execution;
using schema::ExecutionId;
using std::chrono::milliseconds;

// Beyond its own time limit, how long a repeated request waits for the first one to end.
constexpr milliseconds kPatience{60'000};

http::Fields Limits(std::uint64_t limit, std::uint64_t used, std::int64_t ends_unix_ms) {
  if (limit == 0) return {};
  return {{"X-RateLimit-Limit", std::to_string(limit)},
          {"X-RateLimit-Remaining", std::to_string(limit - std::min(limit, used))},
          {"X-RateLimit-Reset", std::to_string(ends_unix_ms)}};
}

std::string LocationOf(const Execution& execution) {
  return "/api/v1/executions/" + ShownId(execution);
}

std::string Text(const ordered_json& document) {
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// What the answer takes of an execution, and not its code.
Execution Remembered(const Execution& execution) {
  Execution kept;
  kept.id = execution.id;
  kept.owner = execution.owner;
  kept.dialect = execution.dialect;
  kept.language = execution.language;
  kept.limits = execution.limits;
  kept.isolation = execution.isolation;
  kept.delivery = execution.delivery;
  kept.created_unix_ms = execution.created_unix_ms;
  return kept;
}

// Everything a callback needs; it may come after the dialect is gone, but not after these.
struct Context {
  ExecutionService* service;
  const Clock* clock;
  store::AcceptTerms terms;
  Execution execution;  // Remembered()
  KeyIdentity identity;
  http::Reply reply;
  Exec0Runs::Done done;

  [[nodiscard]] http::Fields Rate(const store::Acceptance& account) const {
    if (account.minute_ends_unix_ms != 0) {
      return Limits(terms.per_minute, account.used_this_minute, account.minute_ends_unix_ms);
    }
    const AccountRoom::Minute minute = service->MinuteOf(identity.key_id);
    return Limits(terms.per_minute, minute.used, minute.ends_unix_ms);
  }

  [[nodiscard]] Exec0Answer Problem(const Error& error, const store::Acceptance& account) const {
    Exec0Problem problem = ToExec0Problem(error);
    if (const auto refusal = RefusalOf(account, terms)) {
      problem.headers = HeadersOf(*refusal, clock->UnixMillis());
      problem.details = {
          {"reason", refusal->reason}, {"limit", refusal->limit}, {"used", refusal->used}};
      if (refusal->resets_unix_ms != 0) {
        problem.details["resetsAt"] = Rfc3339Millis(refusal->resets_unix_ms);
      }
      return ToAnswer(problem, {});  // the headers are those of the limit that was met
    }
    if (error.code == ErrorCode::kQueueFull) {
      problem.headers.push_back({"Retry-After", "1"});
      problem.details["reason"] = "queue";
      if (const auto depth = service->Depth(execution.priority); depth && depth->limit != 0) {
        problem.details["limit"] = depth->limit;
        problem.details["used"] = depth->waiting;
      }
    } else if (error.code == ErrorCode::kConflict) {
      problem.details["field"] = "Idempotency-Key";
    }
    return ToAnswer(problem, Rate(account));
  }

  // The earlier execution that this request asked for, too.
  [[nodiscard]] Exec0Answer Repeated(const store::ExecutionRecord& record,
                                     const store::Acceptance& account) const {
    Exec0Answer answer{.status = 200, .body = ExecutionDocument(record), .headers = Rate(account)};
    answer.headers.push_back({"Idempotency-Replayed", "true"});
    if (record.execution.delivery != schema::Delivery::kWait || !record.outcome) {
      answer.status = 202;
      answer.headers.push_back({"Location", LocationOf(record.execution)});
    }
    return answer;
  }

  void AnswerRepeated(const store::Acceptance& account) const {
    const bool waits = execution.delivery == schema::Delivery::kWait;
    service->Await(
        account.id, identity.owner, waits ? execution.limits.wall + kPatience : milliseconds(0),
        [reply = reply] { return reply.Alive(); },
        [context = *this, account](const Result<store::ExecutionRecord>& record) {
          if (!record) return context.done(context.Problem(record.error(), {}));
          // The first one was refused in the end, and so is this one.
          const auto refused = record->outcome ? RefusalOfQueue(*record->outcome) : std::nullopt;
          if (refused) return context.done(context.Problem(*refused, {}));
          context.done(context.Repeated(*record, account));
        });
  }
};

void Submit(Execution execution, milliseconds patience, Context context) {
  ExecutionService* const service = context.service;
  store::AcceptTerms terms = context.terms;
  service->Submit(
      std::move(execution), std::move(terms),
      [context = std::move(context)](Result<schema::Outcome> outcome,
                                     const store::Acceptance& account) {
        if (account.verdict == store::AcceptVerdict::kRepeated) {
          return context.AnswerRepeated(account);
        }
        if (!outcome) return context.done(context.Problem(outcome.error(), account));
        store::ExecutionRecord record;
        record.execution = context.execution;
        record.state = outcome->state;
        record.finished_unix_ms = context.clock->UnixMillis();
        record.outcome = *std::move(outcome);
        context.done({.status = 200,
                      .body = Text(ToDocument(record, {.whole_row = false})),
                      .headers = context.Rate(account)});
      },
      patience);
}

void Enqueue(Execution execution, Context context) {
  ExecutionService* const service = context.service;
  store::AcceptTerms terms = context.terms;
  service->Enqueue(std::move(execution), std::move(terms), 0,
                   [context = std::move(context)](const Result<void>& accepted, queue::Depth,
                                                  const store::Acceptance& account) {
                     if (account.verdict == store::AcceptVerdict::kRepeated) {
                       return context.AnswerRepeated(account);
                     }
                     if (!accepted) {
                       return context.done(context.Problem(accepted.error(), account));
                     }
                     store::ExecutionRecord record;
                     record.execution = context.execution;
                     Exec0Answer answer{.status = 202,
                                        .body = ExecutionDocument(record),
                                        .headers = context.Rate(account)};
                     answer.headers.push_back({"Location", LocationOf(record.execution)});
                     context.done(std::move(answer));
                   });
}

}  // namespace

std::optional<ExecutionId> Exec0Runs::Start(Exec0Request request, const Exec0Caller& caller,
                                            const std::string& where, Done done) const {
  Execution& execution = request.execution;
  if (!execution.webhook_url.empty()) {
    if (const Result<void> fits = parts_.check_webhook_url(execution.webhook_url); !fits) {
      Exec0Problem problem = ToExec0Problem(fits.error());
      problem.details = {{"field", where + "webhook_url"},
                         {"limit", "an http or https URL of a public host"},
                         {"received", Received(nlohmann::json(execution.webhook_url))}};
      done(ToAnswer(problem, RateHeaders(caller.identity)));
      return std::nullopt;
    }
  }
  execution.id = ExecutionId(NewUuidV7());
  execution.owner = caller.identity.owner;
  execution.key_id = caller.identity.key_id;
  execution.dialect = "exec0";
  execution.request_id = caller.request_id;
  execution.client_address = caller.client_address;
  execution.idempotency_key = caller.idempotency_key;
  execution.created_unix_ms = parts_.clock.UnixMillis();
  Context context{.service = &parts_.service,
                  .clock = &parts_.clock,
                  .terms = TermsOf(caller.identity, /*per_minute=*/true),
                  .execution = Remembered(execution),
                  .identity = caller.identity,
                  .reply = caller.reply,
                  .done = std::move(done)};
  if (!execution.idempotency_key.empty()) {
    context.terms.request_digest = RequestDigest(execution, request.asked_isolation);
  }
  if (execution.delivery != schema::Delivery::kWait) {
    Enqueue(std::move(execution), std::move(context));
    return std::nullopt;
  }
  const ExecutionId id = execution.id;
  // Who gave it a key means to ask again when the connection breaks.
  const bool outlives_client = !execution.idempotency_key.empty();
  Submit(std::move(execution), caller.patience, std::move(context));
  if (outlives_client) return std::nullopt;
  return id;
}

http::Fields Exec0Runs::RateHeaders(const KeyIdentity& identity) const {
  if (identity.limits.executions_per_minute == 0) return {};
  const AccountRoom::Minute minute = parts_.service.MinuteOf(identity.key_id);
  return Limits(identity.limits.executions_per_minute, minute.used, minute.ends_unix_ms);
}

Exec0Answer ToAnswer(const Exec0Problem& problem, const http::Fields& rate_headers) {
  Exec0Answer answer{
      .status = problem.status, .body = Exec0ErrorBody(problem), .headers = problem.headers};
  answer.headers.insert(answer.headers.end(), rate_headers.begin(), rate_headers.end());
  return answer;
}

}  // namespace forkbox::api
