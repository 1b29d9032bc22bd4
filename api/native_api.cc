#include "api/native_api.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "api/exec0_error.h"
#include "api/execution_id_text.h"
#include "api/size_text.h"
#include "base/rfc3339.h"
#include "webhook/signature.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;
using schema::OwnerId;

constexpr std::string_view kJsonType = "application/json";
constexpr schema::Priority kLanes[] = {schema::Priority::kInteractive,
                                       schema::Priority::kBackground};

void Send(http::Reply& reply, int status, const ordered_json& body, http::Fields headers = {}) {
  SendExec0(reply, status, body, std::move(headers));
}

void SendError(http::Reply& reply, const Error& error) {
  SendExec0Problem(reply, ToExec0Problem(error));
}

ordered_json TimeOrNull(std::int64_t unix_ms) {
  return unix_ms == 0 ? ordered_json(nullptr) : ordered_json(Rfc3339Millis(unix_ms));
}

ordered_json AttemptDocument(const store::DeliveryAttempt& attempt) {
  return {{"number", attempt.number},
          {"startedAt", Rfc3339Millis(attempt.started_unix_ms)},
          {"durationMs", attempt.duration_ms},
          {"status", attempt.status == 0 ? ordered_json(nullptr) : ordered_json(attempt.status)},
          {"error", attempt.error.empty() ? ordered_json(nullptr) : ordered_json(attempt.error)}};
}

ordered_json DeliveryDocument(const store::DeliveryHistory& history) {
  const store::Delivery& delivery = history.delivery;
  ordered_json attempts = ordered_json::array();
  for (const auto& attempt : history.attempts) attempts.push_back(AttemptDocument(attempt));
  return {{"id", delivery.id.str()},
          {"executionId", delivery.execution_id.str()},
          {"url", delivery.url},
          {"state", ToString(delivery.state)},
          {"createdAt", Rfc3339Millis(delivery.created_unix_ms)},
          {"nextAttemptAt", delivery.state == store::DeliveryState::kPending
                                ? TimeOrNull(delivery.next_attempt_unix_ms)
                                : ordered_json(nullptr)},
          {"finishedAt", TimeOrNull(delivery.finished_unix_ms)},
          {"attempts", std::move(attempts)}};
}

ordered_json VmDocument(const runner::VmService& vm) {
  const sandbox::vm::VmStatus& status = vm.status;
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? ordered_json(nullptr) : ordered_json(text);
  };
  ordered_json languages = ordered_json::array();
  for (const auto& language : vm.languages) {
    if (language.ready) languages.push_back(language.id);
  }
  return {{"state", sandbox::vm::ToString(status.state)},
          {"accelerator", text_or_null(status.accelerator)},
          {"design", text_or_null(status.design)},
          {"reason", text_or_null(status.reason)},
          {"kvm", text_or_null(status.kvm)},
          {"languages", std::move(languages)},
          {"memoryMb", vm.most_memory_bytes >> 20},
          {"machinesReady", vm.machines_ready}};
}

ordered_json RunnerDocument(const StoreSnapshot::Runner& runner) {
  ordered_json languages = ordered_json::array();
  for (const auto& language : runner.details.languages) {
    if (language.ready) languages.push_back(language.id);
  }
  return {{"id", runner.info.id},
          {"host", runner.info.host},
          {"slots", runner.info.slots},
          {"busy", runner.info.busy},
          {"languages", std::move(languages)},
          {"missingProtections", runner.details.missing_protections},
          {"startedAt", Rfc3339Millis(runner.info.started_unix_ms)},
          {"seenAt", Rfc3339Millis(runner.info.seen_unix_ms)}};
}

}  // namespace

NativeApi::NativeApi(Options options, Parts parts)
    : options_(options),
      parts_(std::move(parts)),
      calls_(options.threads, options.max_waiting_calls) {}

void NativeApi::Route(http::Server& server, http::Method method, const char* path, Right right,
                      Handler handler) {
  server.Route(method, path, [this, right, handler](http::Call& call) {
    const auto identity =
        parts_.admission.IdentifyAndMeter(call.fields, call.client_address, right);
    if (!identity) {
      return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
    }
    (this->*handler)(call, identity->owner);
  });
}

void NativeApi::RegisterOn(http::Server& server) {
  using http::Method;
  constexpr const char* kDeliveries = "/api/v1/executions/:id/deliveries";
  Route(server, Method::kGet, kDeliveries, Right::kReadExecutions, &NativeApi::ListDeliveries);
  Route(server, Method::kPost, kDeliveries, Right::kExecute, &NativeApi::Redeliver);
  constexpr const char* kSecrets = "/api/v1/webhook-secrets";
  Route(server, Method::kGet, kSecrets, Right::kManageKeys, &NativeApi::ListSecrets);
  Route(server, Method::kPost, kSecrets, Right::kManageKeys, &NativeApi::AddSecret);
  Route(server, Method::kGet, "/api/v1/queue", Right::kReadAccount, &NativeApi::Queue);
  server.Route(Method::kGet, "/api/v1/health", [this](http::Call& call) { Health(call); });
}

std::optional<http::AnswerBody> NativeApi::ErrorBody(const http::OwnAnswer& answer,
                                                     std::size_t body_limit,
                                                     std::size_t without_key) {
  if (!answer.path.starts_with("/api/v1/") && !answer.path.starts_with("/executions/")) {
    return std::nullopt;
  }
  Exec0Problem problem{.status = answer.status, .message = std::string(answer.message)};
  if (answer.status == 413) {
    problem.details = {{"field", "body"}, {"limit", SizeText(body_limit)}};
    if (without_key < body_limit) {
      problem.message += "; without a known API key at most " + SizeText(without_key);
    }
  }
  return http::AnswerBody{std::string(kJsonType), Exec0ErrorBody(problem)};
}

void NativeApi::Later(http::Call& call, std::function<void(http::Reply&)> work) {
  const bool posted =
      calls_.Post([reply = call.reply, work = std::move(work)]() mutable { work(reply); });
  if (!posted) {
    SendError(call.reply, {ErrorCode::kUnavailable, "too many questions to the store wait"});
  }
}

void NativeApi::ListDeliveries(http::Call& call, const OwnerId& owner) {
  Later(call, [this, id = ToExecutionId(call.Param(":id")), owner](http::Reply& reply) {
    const auto found = parts_.store.deliveries().ListDeliveries(id, owner);
    if (!found) return SendError(reply, found.error());
    ordered_json deliveries = ordered_json::array();
    for (const auto& history : *found) deliveries.push_back(DeliveryDocument(history));
    Send(reply, 200, {{"deliveries", std::move(deliveries)}});
  });
}

void NativeApi::Redeliver(http::Call& call, const OwnerId& owner) {
  Later(call, [this, id = ToExecutionId(call.Param(":id")), owner](http::Reply& reply) {
    const auto made = parts_.store.deliveries().Redeliver(id, owner, parts_.clock.UnixMillis());
    if (!made) return SendError(reply, made.error());
    Send(reply, 202, {{"id", made->str()}, {"executionId", id.str()}, {"state", "pending"}},
         {{"Location", "/api/v1/executions/" + id.str() + "/deliveries"}});
  });
}

void NativeApi::ListSecrets(http::Call& call, const OwnerId& owner) {
  Later(call, [this, owner](http::Reply& reply) {
    const auto active =
        parts_.store.webhook_secrets().ActiveSecrets(owner, parts_.clock.UnixMillis());
    if (!active) return SendError(reply, active.error());
    ordered_json secrets = ordered_json::array();
    for (const auto& secret : *active) {
      secrets.push_back({{"createdAt", Rfc3339Millis(secret.created_unix_ms)},
                         {"expiresAt", TimeOrNull(secret.expires_unix_ms)}});
    }
    Send(reply, 200, {{"secrets", std::move(secrets)}});
  });
}

void NativeApi::AddSecret(http::Call& call, const OwnerId& owner) {
  Later(call, [this, owner, request_id = call.request_id](http::Reply& reply) {
    const std::string secret = webhook::NewSecret();
    const std::int64_t now = parts_.clock.UnixMillis();
    const std::int64_t expires =
        now +
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.secret_overlap).count();
    const auto added = parts_.store.webhook_secrets().AddSecret(owner, secret, now, expires);
    if (!added) return SendError(reply, added.error());
    parts_.log.Info("webhook.secret_made", {{"request_id", request_id}, {"owner", owner.str()}});
    Send(reply, 201,
         {{"secret", secret},
          {"createdAt", Rfc3339Millis(now)},
          {"previousExpiresAt", Rfc3339Millis(expires)}});
  });
}

void NativeApi::Queue(http::Call& call, const OwnerId& /*owner*/) {
  const auto snapshot = parts_.probe.Snapshot();
  if (const auto status = parts_.probe.Status(); !status || snapshot == nullptr) {
    return SendError(call.reply, {ErrorCode::kUnavailable, "the store does not answer"});
  }
  ordered_json lanes = ordered_json::object();
  for (const schema::Priority lane : kLanes) {
    const store::LaneCounts& counts = lane == schema::Priority::kInteractive
                                          ? snapshot->executions.interactive
                                          : snapshot->executions.background;
    const auto depth = parts_.broker.GetDepth(lane);
    ordered_json oldest = nullptr;
    if (counts.oldest_queued_unix_ms != 0) {
      oldest = std::max<std::int64_t>(0, snapshot->taken_unix_ms - counts.oldest_queued_unix_ms);
    }
    lanes[std::string(ToString(lane))] = {
        {"waiting", counts.queued},
        {"running", counts.running},
        {"oldestAgeMs", std::move(oldest)},
        {"limit", depth && depth->limit != 0 ? ordered_json(depth->limit) : ordered_json(nullptr)},
        {"inBroker", depth ? ordered_json(depth->waiting) : ordered_json(nullptr)}};
  }
  ordered_json runners = ordered_json::array();
  for (const auto& runner : snapshot->runners) runners.push_back(RunnerDocument(runner));
  Send(call.reply, 200,
       {{"lanes", std::move(lanes)},
        {"runners", std::move(runners)},
        {"webhooks",
         {{"pending", snapshot->deliveries.pending}, {"dead", snapshot->deliveries.dead}}},
        {"asOf", Rfc3339Millis(snapshot->taken_unix_ms)}});
}

// Without a key: load balancers ask. So it names parts, and leaves hosts and causes to the log.
void NativeApi::Health(http::Call& call) {
  const Result<void> store = parts_.probe.Status();
  const Result<void> broker = parts_.broker.Status();
  const auto snapshot = parts_.probe.Snapshot();
  const std::size_t runners = snapshot == nullptr ? 0 : snapshot->runners.size();
  const auto part = [](const Result<void>& status, const char* cause) {
    ordered_json document{{"status", status ? "ok" : "unavailable"}};
    if (!status) document["cause"] = cause;
    return document;
  };
  ordered_json runner{{"status", !store         ? "unknown"
                                 : runners != 0 ? "ok"
                                                : "unavailable"},
                      {"alive", runners}};
  if (store && runners == 0) runner["cause"] = "no runner was seen lately";
  std::optional<std::uint64_t> sandboxes;
  for (std::size_t i = 0; i < runners; ++i) {
    const auto& service = snapshot->runners[i].details.sandboxes;
    if (service) sandboxes = sandboxes.value_or(0) + service->live;
  }
  if (sandboxes) runner["sandboxes"] = *sandboxes;
  const bool serving = store && broker;
  const auto vm = parts_.languages.Vm();
  const bool vm_failed = vm != nullptr && vm->status.state == sandbox::vm::VmState::kFailed;
  const std::vector<std::string> missing = parts_.probe.MissingProtections();
  // The first members are Exec0's, in its words; the components say why.
  const auto word = [](const Result<void>& status) { return status ? "ok" : "unavailable"; };
  ordered_json health{
      {"status", !serving                                        ? "unavailable"
                 : runners == 0 || !missing.empty() || vm_failed ? "degraded"
                                                                 : "ok"},
      {"version", "v1"},
      {"timestamp", Rfc3339Millis(parts_.clock.UnixMillis())},
      {"services",
       {{"executor", runner["status"]}, {"database", word(store)}, {"queue", word(broker)}}},
      {"components",
       {{"store", part(store, "the database does not answer")},
        {"queue", part(broker, "the broker does not answer or takes nothing")},
        {"runners", std::move(runner)}}}};
  if (vm != nullptr) health["vm"] = VmDocument(*vm);
  if (!missing.empty()) health["missingProtections"] = missing;
  Send(call.reply, serving ? 200 : 503, health);
}

}  // namespace forkbox::api
