#include "api/exec0.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/exec0_batch_reply.h"
#include "api/execution_document.h"
#include "api/execution_id_text.h"
#include "api/history_request.h"
#include "api/json_type.h"
#include "api/paced_batch.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using schema::ExecutionId;

constexpr std::string_view kJsonType = "application/json";
constexpr const char* kExecutePath = "/api/v1/execute";
constexpr const char* kBatchPath = "/api/v1/execute/batch";
// Room for what an item of a batch adds to the key of the batch: ":49".
constexpr std::size_t kMaxBatchKeyBytes = 250;
// How long an item of a batch waits for others of its account to end.
constexpr std::chrono::milliseconds kItemPatience{60'000};

void Send(http::Reply& reply, const Exec0Answer& answer) {
  http::Fields headers = answer.headers;
  headers.push_back({"Cache-Control", "no-store"});
  reply.Send(answer.status, kJsonType, answer.body, headers);
}

// `process` and `vm` are null where that does not have it. One of them is not. Why it cannot run at
// all is its `reason`; why it cannot run in one of them is among `isolationReasons`.
ordered_json LanguageDocument(const sandbox::LanguageStatus* process,
                              const sandbox::LanguageStatus* vm) {
  using languages::ExecutionModel;
  const sandbox::LanguageStatus& language = process != nullptr ? *process : *vm;
  ordered_json isolations = ordered_json::array();
  ordered_json reasons = ordered_json::object();
  for (const auto& [status, isolation] :
       {std::pair{process, schema::Isolation::kProcess}, std::pair{vm, schema::Isolation::kVm}}) {
    if (status == nullptr) continue;
    if (status->ready) {
      isolations.push_back(ToString(isolation));
    } else if (!status->reason.empty()) {
      reasons[std::string(ToString(isolation))] = status->reason;
    }
  }
  const bool available = !isolations.empty();
  ordered_json document{
      {"id", language.id},
      {"name", language.name},
      {"version", language.version},
      {"executionModel", ToString(language.execution_model)},
      {"compilation", language.execution_model != ExecutionModel::kInterpreted},
      {"extensions", language.extensions},
      {"features", {{"stdin", true}, {"files", true}, {"args", true}, {"tests", true}}},
      {"aliases", language.aliases},
      {"fileName", language.file_name},
      {"available", available},
      {"isolations", std::move(isolations)}};
  if (!available && !language.reason.empty()) document["reason"] = language.reason;
  if (!reasons.empty()) document["isolationReasons"] = std::move(reasons);
  return document;
}

}  // namespace

Result<std::unique_ptr<Exec0Dialect>> Exec0Dialect::Create(Options options, Parts parts) {
  Result<schema::RequestSchema> execute = schema::RequestSchema::Load("exec0_execute");
  if (!execute) return Fail(ErrorCode::kInternal, execute.error().message);
  Result<schema::RequestSchema> batch = schema::RequestSchema::Load("exec0_batch");
  if (!batch) return Fail(ErrorCode::kInternal, batch.error().message);
  return std::unique_ptr<Exec0Dialect>(
      new Exec0Dialect(options, std::move(parts), *std::move(execute), *std::move(batch)));
}

Exec0Dialect::Exec0Dialect(Options options, Parts parts, schema::RequestSchema execute,
                           schema::RequestSchema batch)
    : options_(options),
      parts_(std::move(parts)),
      execute_schema_(std::move(execute)),
      batch_schema_(std::move(batch)),
      runs_({parts_.service, parts_.clock, parts_.check_webhook_url}),
      calls_(options_.threads, options_.max_waiting_calls) {}

void Exec0Dialect::RegisterOn(http::Server& server) {
  using http::Method;
  RoutePost(server, kExecutePath, &Exec0Dialect::Execute);
  RoutePost(server, kBatchPath, &Exec0Dialect::Batch);
  for (const char* path : {"/api/v1/executions/:id", "/executions/:id"}) {
    server.Route(Method::kGet, path, [this](http::Call& call) { GetExecution(call); });
  }
  server.Route(Method::kGet, "/api/v1/executions",
               [this](http::Call& call) { ListExecutions(call); });
  server.Route(Method::kGet, "/api/v1/languages", [this](http::Call& call) { Languages(call); });
}

std::size_t Exec0Dialect::BodyLimit(std::string_view path) const {
  return path == kExecutePath || path == kBatchPath ? options_.max_body_bytes : 0;
}

// ---- execute ------------------------------------------------------------------------------------

void Exec0Dialect::RoutePost(http::Server& server, const char* path, Handler handler) {
  server.Route(http::Method::kPost, path, [this, handler](http::Call& call) {
    const auto identity =
        parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kExecute);
    if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
    if (call.body.size() <= options_.inline_body_bytes) return (this->*handler)(call, *identity);
    // Shared only because a std::function must be copyable.
    const auto held = std::make_shared<http::Call>(std::move(call));
    const bool posted = calls_.Post(
        [this, handler, held, identity = *identity] { (this->*handler)(*held, identity); });
    if (!posted) {
      SendExec0Problem(held->reply, ToExec0Problem(Error{ErrorCode::kUnavailable,
                                                         "too many large requests wait"}));
    }
  });
}

tl::expected<json, Exec0Problem> Exec0Dialect::ReadBody(const http::Call& call) {
  if (!IsJsonType(call.Header("Content-Type"))) {
    return tl::unexpected(Exec0Problem{.status = 415,
                                       .message = "Content-Type: must be application/json",
                                       .details = {{"field", "Content-Type"},
                                                   {"limit", "application/json"},
                                                   {"received", "another type, or none"}}});
  }
  Result<json> body = schema::ParseJson(call.body);
  if (body) return *std::move(body);
  return tl::unexpected(Exec0Problem{
      .status = 400,
      .message = "Malformed JSON in request body: " + body.error().message,
      .details = {
          {"field", "body"}, {"limit", "JSON (RFC 8259)"}, {"received", "something else"}}});
}

tl::expected<Exec0Caller, Exec0Problem> Exec0Dialect::CallerOf(const http::Call& call,
                                                               const KeyIdentity& identity) const {
  Exec0Caller caller{.identity = identity,
                     .request_id = call.request_id,
                     .client_address = parts_.admission.AddressOf(call.fields, call.client_address),
                     .idempotency_key = "",
                     .reply = call.reply};
  if (const std::string* key = call.Header("Idempotency-Key")) {
    if (const auto shared = RefusalOfSharedKey(identity, "use an Idempotency-Key")) {
      Exec0Problem problem = ToExec0Problem(*shared);
      problem.details = {{"field", "Idempotency-Key"}};
      return tl::unexpected(std::move(problem));
    }
    auto checked = ToIdempotencyKey(*key);
    if (!checked) return tl::unexpected(checked.error());
    caller.idempotency_key = *std::move(checked);
  }
  return caller;
}

void Exec0Dialect::Execute(http::Call& call, const KeyIdentity& identity) {
  const auto refuse = [&](const Exec0Problem& problem) {
    Send(call.reply, ToAnswer(problem, runs_.RateHeaders(identity)));
  };
  const auto caller = CallerOf(call, identity);
  if (!caller) return refuse(caller.error());
  auto body = ReadBody(call);
  if (!body) return refuse(body.error());
  call.body = {};
  auto request =
      ToExec0Request(*std::move(body), "", execute_schema_, options_.request, parts_.languages);
  if (!request) return refuse(request.error());
  const auto cancellable =
      runs_.Start(*std::move(request), *caller, "",
                  [reply = call.reply](const Exec0Answer& answer) mutable { Send(reply, answer); });
  // After it was submitted, for there must be something to cancel.
  if (cancellable) {
    call.reply.OnGone([service = &parts_.service, id = *cancellable] { service->Cancel(id); });
  }
}

void Exec0Dialect::Batch(http::Call& call, const KeyIdentity& identity) {
  const auto refuse = [&](const Exec0Problem& problem) {
    Send(call.reply, ToAnswer(problem, runs_.RateHeaders(identity)));
  };
  auto caller = CallerOf(call, identity);
  if (!caller) return refuse(caller.error());
  if (caller->idempotency_key.size() > kMaxBatchKeyBytes) {
    return refuse(InvalidField("Idempotency-Key",
                               "at most " + std::to_string(kMaxBatchKeyBytes) + " characters",
                               caller->idempotency_key.size()));
  }
  auto body = ReadBody(call);
  if (!body) return refuse(body.error());
  call.body = {};
  if (const Result<void> valid = batch_schema_.Validate(*body); !valid) {
    return refuse(InvalidBody(valid.error(), *body));
  }
  const bool queued = body->value("async", false);
  json& items = (*body)["executions"];

  // All are understood before the first one starts, so that each knows its share of the output.
  std::vector<tl::expected<Exec0Request, Exec0Problem>> requests;
  std::size_t runs = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (queued && items[i].is_object()) items[i]["async"] = true;
    requests.push_back(ToExec0Request(std::move(items[i]), "executions[" + std::to_string(i) + "].",
                                      execute_schema_, options_.request, parts_.languages));
    if (requests.back()) {
      runs += std::max<std::size_t>(1, requests.back()->execution.source.cases.size());
    }
  }

  const auto batch = std::make_shared<Exec0BatchReply>(
      call.reply, queued ? 202 : 200, requests.size(),
      [service = &parts_.service, identity, clock = &parts_.clock] {
        return Exec0Runs({*service, *clock, {}}).RateHeaders(identity);
      });
  bool paid = true;  // for the first one, with the call
  for (auto& request : requests) {
    if (!request) continue;
    ShareOutput(&request->execution.limits, options_.request, runs);
    // What everybody may use is counted item by item.
    if (identity.is_demo && !std::exchange(paid, false)) {
      const auto taken = parts_.admission.TakeAnother(identity, call.fields, call.client_address);
      if (!taken) request = tl::unexpected(ToExec0Problem(taken.error()));
    }
  }
  const std::size_t count = requests.size();
  caller->patience = kItemPatience;
  // Called until the last item ends, which may be after this dialect.
  const auto start = [runs = runs_, batch, caller = *std::move(caller),
                      held = std::make_shared<decltype(requests)>(std::move(requests))](
                         std::size_t i, std::function<void()> ended) -> std::optional<ExecutionId> {
    auto& request = (*held)[i];
    if (!request) {
      batch->Put(i, Exec0ErrorBody(request.error()));
      ended();
      return std::nullopt;
    }
    Exec0Caller of_item = caller;
    if (!caller.idempotency_key.empty()) of_item.idempotency_key += ':' + std::to_string(i);
    Exec0Request one = *std::move(request);
    request->execution = {};
    return runs.Start(std::move(one), of_item, "executions[" + std::to_string(i) + "].",
                      [batch, i, ended = std::move(ended)](Exec0Answer answer) {
                        batch->Put(i, std::move(answer.body));
                        ended();
                      });
  };
  const auto paced =
      PacedBatch::Run(count, identity.limits.concurrency, start,
                      [service = &parts_.service](const ExecutionId& id) { service->Cancel(id); });
  call.reply.OnGone([paced] { paced->Abandon(); });
}

// ---- what became of them ------------------------------------------------------------------------

void Exec0Dialect::GetExecution(http::Call& call) {
  const auto identity =
      parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kReadExecutions);
  if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
  parts_.service.Find(
      ToExecutionId(call.Param(":id")), identity->owner,
      [reply = call.reply](const Result<store::ExecutionRecord>& record) mutable {
        if (!record) return SendExec0Problem(reply, ToExec0Problem(record.error()));
        reply.Send(200, kJsonType, ExecutionDocument(*record), {{"Cache-Control", "no-store"}});
      });
}

void Exec0Dialect::ListExecutions(http::Call& call) {
  const auto identity =
      parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kReadExecutions);
  if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
  if (const auto shared = RefusalOfSharedKey(*identity, "list executions")) {
    return SendExec0Problem(call.reply, ToExec0Problem(*shared));
  }
  auto query = ToHistoryQuery(call, parts_.languages);
  if (!query) return SendExec0Problem(call.reply, query.error());
  query->owner = identity->owner;
  const store::HistoryQuery asked = *query;
  parts_.service.ListHistory(
      *std::move(query), kMaxCountedHistory,
      [reply = call.reply, asked, most = options_.max_listed_text_bytes](
          const Result<ExecutionService::History>& history) mutable {
        if (!history) return SendExec0Problem(reply, ToExec0Problem(history.error()));
        const auto& records = history->page.records;
        ordered_json data = ordered_json::array();
        for (const auto& record : records) {
          data.push_back(ToDocument(record, {.max_text_bytes = most, .with_tests = false}));
        }
        const bool more = history->page.more && !records.empty();
        SendExec0(
            reply, 200,
            {{"data", std::move(data)},
             {"total", history->total},
             {"totalIsCapped", history->total >= kMaxCountedHistory},
             {"limit", asked.limit},
             {"offset", asked.offset},
             {"hasMore", more},
             {"nextCursor", more ? ordered_json(CursorAfter(records.back().execution.id, asked))
                                 : ordered_json(nullptr)}});
      });
}

void Exec0Dialect::Languages(http::Call& call) {
  ordered_json all = ordered_json::array();
  const auto of_processes = parts_.languages.All();
  const auto vm = parts_.languages.Vm();
  const LanguageCatalog::Languages in_machines =
      vm == nullptr ? LanguageCatalog::Languages() : vm->languages;
  const auto find = [](const LanguageCatalog::Languages& languages, const std::string& id) {
    const auto found = std::ranges::find(languages, id, &sandbox::LanguageStatus::id);
    return found == languages.end() ? nullptr : &*found;
  };
  for (const auto& language : *of_processes) {
    all.push_back(LanguageDocument(&language, find(in_machines, language.id)));
  }
  for (const auto& language : in_machines) {
    if (find(*of_processes, language.id) == nullptr) {
      all.push_back(LanguageDocument(nullptr, &language));
    }
  }
  SendExec0(call.reply, 200, {{"languages", std::move(all)}});
}

}  // namespace forkbox::api
