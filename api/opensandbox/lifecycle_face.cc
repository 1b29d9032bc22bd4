#include "api/opensandbox/lifecycle_face.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "api/opensandbox/lifecycle_document.h"
#include "api/opensandbox/lifecycle_labels.h"
#include "api/opensandbox/lifecycle_query.h"
#include "base/rfc3339.h"
#include "base/uuid.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using http::Method;
using nlohmann::json;
using nlohmann::ordered_json;
using store::SandboxRecord;
using store::SandboxState;

constexpr char kKeyHeader[] = "OPEN-SANDBOX-API-KEY";
constexpr int kMaxPatchTries = 20;
constexpr schema::JsonLimits kSmall{.max_depth = 8, .max_values = 1'000, .max_bytes = 64U << 10};

// What has not been ended on purpose.
const std::vector<SandboxState>& Shown() {
  static const std::vector<SandboxState> kShown{SandboxState::kPending,  SandboxState::kRunning,
                                                SandboxState::kPausing,  SandboxState::kPaused,
                                                SandboxState::kResuming, SandboxState::kStopping,
                                                SandboxState::kFailed};
  return kShown;
}

// "sandboxes/…", "snapshots", … of a path of ours, with or without /v1; null for other paths.
std::optional<std::string_view> OwnPath(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  if (path.starts_with("v1/")) path.remove_prefix(3);
  while (path.starts_with('/')) path.remove_prefix(1);
  for (const std::string_view room : {"sandboxes", "snapshots", "pools"}) {
    if (path == room || (path.starts_with(room) && path[room.size()] == '/')) return path;
  }
  return std::nullopt;
}

bool IsHost(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
  });
}

void SendEmpty(const http::Reply& reply, int status) { http::Reply(reply).Send(status, "", ""); }

}  // namespace

Result<std::unique_ptr<LifecycleFace>> LifecycleFace::Create(Options options, Parts parts) {
  using schema::RequestSchema;
  Result<RequestSchema> create = RequestSchema::Load("opensandbox_create");
  if (!create) return Fail(create.error());
  Result<RequestSchema> renew = RequestSchema::Load("opensandbox_renew");
  if (!renew) return Fail(renew.error());
  Result<RequestSchema> metadata = RequestSchema::Load("opensandbox_metadata");
  if (!metadata) return Fail(metadata.error());
  return std::unique_ptr<LifecycleFace>(
      new LifecycleFace(std::move(options), std::move(parts), {*create, *renew, *metadata}));
}

LifecycleFace::LifecycleFace(Options options, Parts parts, Schemas schemas)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      schemas_(std::move(schemas)),
      calls_(options_.threads, options_.max_waiting_calls),
      forks_(options_.fork_threads, options_.max_waiting_calls) {}

void LifecycleFace::Close() {
  parts_.fleet.GiveUp();
  forks_.Close();
  calls_.Close();
}

void LifecycleFace::RegisterOn(http::Server& server) {
  using Face = LifecycleFace;
  constexpr Right kExecute = Right::kExecute;
  constexpr Right kRead = Right::kReadExecutions;
  for (const std::string root : {"/v1", ""}) {
    const std::string all = root + "/sandboxes";
    const std::string one = all + "/:id";
    Route(server, Method::kPost, all, kExecute, &Face::CreateOne);
    Route(server, Method::kGet, all, kRead, &Face::List);
    Route(server, Method::kGet, one, kRead, &Face::Get);
    Route(server, Method::kDelete, one, kExecute, &Face::Delete);
    Route(server, Method::kPatch, one + "/metadata", kExecute, &Face::PatchMetadata);
    Route(server, Method::kPost, one + "/pause", kExecute, &Face::Pause);
    Route(server, Method::kPost, one + "/resume", kExecute, &Face::Resume);
    Route(server, Method::kPost, one + "/renew-expiration", kExecute, &Face::Renew);
    // With what it says programs can be run.
    Route(server, Method::kGet, one + "/endpoints/:port", kExecute, &Face::Endpoint);
    Route(server, Method::kGet, one + "/diagnostics/:what", kRead, &Face::Diagnostics);
    RouteTo(server, Method::kPost, one + "/fork", kExecute,
            [this](std::shared_ptr<Asked> asked) { StartFork(std::move(asked)); });
    Route(server, Method::kPost, one + "/snapshots", kExecute, &Face::NoSnapshot);
    Route(server, Method::kGet, root + "/snapshots", kRead, &Face::ListSnapshots);
    Route(server, Method::kGet, root + "/snapshots/:snapshot", kRead, &Face::FindSnapshot);
    Route(server, Method::kDelete, root + "/snapshots/:snapshot", kExecute, &Face::FindSnapshot);
    for (const Method method : {Method::kGet, Method::kPost}) {
      Route(server, method, root + "/pools", kRead, &Face::NoPools);
    }
    for (const Method method : {Method::kGet, Method::kPut, Method::kPatch, Method::kDelete}) {
      Route(server, method, root + "/pools/:name", kRead, &Face::NoPools);
    }
    // Clients tell how long it took them, and do not look at the answer.
    server.Route(Method::kPost, root + "/metrics/events",
                 [](http::Call& call) { SendEmpty(call.reply, 204); });
    server.Tree(
        one + "/proxy", [this](http::Call& call) { parts_.fleet.Proxy(call); },
        [this](Method method, std::string_view tail, const http::Fields& fields) {
          return parts_.fleet.TakesOver(method, tail, fields);
        });
  }
}

bool LifecycleFace::IsOpen(std::string_view path) {
  return path.ends_with("/sandboxes/:id/proxy") || path.ends_with("/metrics/events");
}

std::size_t LifecycleFace::BodyLimit(std::string_view path, const http::Fields& fields) {
  auto own = OwnPath(path);
  constexpr std::string_view kRoom = "sandboxes/";
  if (!own || !own->starts_with(kRoom)) return 0;
  own->remove_prefix(kRoom.size());
  if (own->find("/proxy/") == std::string_view::npos) return 0;
  return parts_.fleet.BodyLimit(*own, fields);
}

std::optional<http::AnswerBody> LifecycleFace::ErrorBody(const http::OwnAnswer& answer) {
  if (!OwnPath(answer.path)) return std::nullopt;
  return http::AnswerBody{"application/json",
                          LifecycleBody({.status = answer.status == 422 ? 400 : answer.status,
                                         .code = "GENERAL::UNKNOWN_ERROR",
                                         .message = std::string(answer.message)})};
}

void LifecycleFace::Post(CallPool& pool, const http::Reply& reply, std::function<void()> call) {
  if (pool.Post(std::move(call))) return;
  SendLifecycleProblem(reply, {.status = 503,
                               .code = "SANDBOX::UNKNOWN_ERROR",
                               .message = "too many calls wait",
                               .headers = {{"Retry-After", "1"}}});
}

void LifecycleFace::Route(http::Server& server, Method method, const std::string& path, Right right,
                          Work work) {
  RouteTo(server, method, path, right, [this, work](const std::shared_ptr<Asked>& asked) {
    const http::Reply reply = asked->call.reply;
    Post(calls_, reply, [this, asked, work] { (this->*work)(*asked); });
  });
}

void LifecycleFace::RouteTo(http::Server& server, Method method, const std::string& path,
                            Right right, Start start) {
  server.Route(method, path, [this, right, start = std::move(start)](http::Call& call) {
    const bool own_header = call.Header(kKeyHeader) != nullptr;
    const auto identity =
        own_header
            ? parts_.admission.AdmitByHeader(kKeyHeader, call.fields, call.client_address, right)
            : parts_.admission.IdentifyAndMeter(call.fields, call.client_address, right);
    if (!identity) return SendLifecycleProblem(call.reply, ToLifecycleProblem(identity.error()));
    if (const auto refusal = RefusalOfSharedKey(*identity, "have sandboxes")) {
      return SendLifecycleProblem(call.reply, ToLifecycleProblem(*refusal));
    }
    if (call.body.size() > kMaxSandboxBody) {
      return SendLifecycleProblem(call.reply,
                                  {.status = 413, .message = "body: must be at most 256 KiB"});
    }
    start(std::make_shared<Asked>(Asked{std::move(call), *identity}));
  });
}

std::optional<SandboxRecord> LifecycleFace::Find(Asked& asked) {
  const std::string id = asked.call.Param(":id");
  const auto row = parts_.store.Get(id);
  if (!row) {
    SendLifecycleProblem(asked.call.reply, ToLifecycleProblem(row.error(), "LOOKUP"));
    return std::nullopt;
  }
  if (!*row || (*row)->owner != asked.identity.owner.str() ||
      (*row)->state == SandboxState::kTerminated) {
    SendLifecycleProblem(asked.call.reply, NoSuchSandbox(id));
    return std::nullopt;
  }
  return **row;
}

LifecycleFace::Place::~Place() {
  const std::lock_guard lock(face_.mutex_);
  if (--face_.pending_[owner_] == 0) face_.pending_.erase(owner_);
}

std::unique_ptr<LifecycleFace::Place> LifecycleFace::TakePlace(Asked& asked) {
  const std::string& owner = asked.identity.owner.str();
  std::size_t pending = 0;
  {
    const std::lock_guard lock(mutex_);
    pending = ++pending_[owner];
  }
  auto place = std::make_unique<Place>(*this, owner);
  if (!parts_.admission.enabled() || options_.max_per_account == 0) return place;
  std::vector<SandboxState> live = Shown();
  live.pop_back();
  const auto page = parts_.store.List({.owner = owner, .states = live, .page_size = 1});
  if (!page) {
    SendLifecycleProblem(asked.call.reply, ToLifecycleProblem(page.error(), "START"));
    return nullptr;
  }
  if (page->total + pending > options_.max_per_account) {
    SendLifecycleProblem(
        asked.call.reply,
        {.status = 429,
         .code = "SANDBOX::TOO_MANY_SANDBOXES",
         .message = "this account has " + std::to_string(page->total) + " sandboxes and may have " +
                    std::to_string(options_.max_per_account) + " at once: delete one first",
         .headers = {{"Retry-After", "10"}}});
    return nullptr;
  }
  return place;
}

void LifecycleFace::CreateOne(Asked& asked) {
  auto spec = ParseSandboxRequest(asked.call.body, schemas_.create, options_.bounds);
  if (!spec) return SendLifecycleProblem(asked.call.reply, spec.error());
  const auto place = TakePlace(asked);
  if (place == nullptr) return;
  spec->id = NewUuidV7();
  spec->owner = asked.identity.owner.str();
  const auto record = parts_.fleet.Create(*std::move(spec));
  if (!record) {
    return SendLifecycleProblem(asked.call.reply, ToLifecycleProblem(record.error(), "START"));
  }
  SendLifecycleJson(asked.call.reply, 202, SandboxDocument(*record, false),
                    {{"Location", "/v1/sandboxes/" + record->id}});
}

void LifecycleFace::List(Asked& asked) {
  const http::Call& call = asked.call;
  store::SandboxQuery query;
  query.owner = asked.identity.owner.str();
  const auto page = PageNumber(call, "page", 1, 1'000'000);
  if (!page) return SendLifecycleProblem(call.reply, Unprocessable("page: must be from 1"));
  const auto page_size = PageNumber(call, "pageSize", 20, 200);
  if (!page_size) {
    return SendLifecycleProblem(call.reply, Unprocessable("pageSize: must be from 1 to 200"));
  }
  query.page = *page;
  query.page_size = *page_size;
  std::string metadata;
  if (call.Query("metadata", &metadata)) {
    auto labels = ParseLabelFilter(metadata);
    if (!labels || labels->size() > 16) {
      return SendLifecycleProblem(
          call.reply, {.status = 400,
                       .code = "INVALID_METADATA_FORMAT",
                       .message = "metadata: must be at most 16 pairs like k=v&k2=v2, encoded"});
    }
    query.metadata = *std::move(labels);
  }
  // A state that there is not matches nothing.
  const std::vector<std::string> states = Queries(call, "state");
  if (states.empty()) query.states = Shown();
  for (const std::string& name : states) {
    const auto state = store::SandboxStateOf(name);
    if (state && *state != SandboxState::kTerminated &&
        std::ranges::find(query.states, *state) == query.states.end()) {
      query.states.push_back(*state);
    }
  }
  const Result<store::SandboxPage> found =
      query.states.empty() ? store::SandboxPage() : parts_.store.List(query);
  if (!found) return SendLifecycleProblem(call.reply, ToLifecycleProblem(found.error(), "LIST"));
  SendLifecycleJson(call.reply, 200, SandboxPageDocument(*found, query));
}

void LifecycleFace::Get(Asked& asked) {
  const auto record = Find(asked);
  if (record) SendLifecycleJson(asked.call.reply, 200, SandboxDocument(*record));
}

void LifecycleFace::Finish(Asked& asked, const Result<void>& result, std::string_view what,
                           int status) {
  if (result) return SendEmpty(asked.call.reply, status);
  LifecycleProblem problem = ToLifecycleProblem(result.error(), what);
  if (problem.status == 404) problem = NoSuchSandbox(asked.call.Param(":id"));
  SendLifecycleProblem(asked.call.reply, problem);
}

void LifecycleFace::Delete(Asked& asked) {
  const auto record = Find(asked);
  if (!record) return;
  if (record->state == SandboxState::kFailed) {
    // Nothing is left of it but its row.
    const auto written = parts_.store.DeleteFailed(record->id, parts_.clock.UnixMillis());
    Result<void> done;
    if (!written) done = Fail(written.error());
    if (written && !*written) done = Fail(ErrorCode::kNotFound, "somebody was first");
    return Finish(asked, done, "DELETE", 204);
  }
  Finish(asked, parts_.fleet.Delete(*record), "DELETE", 204);
}

void LifecycleFace::Pause(Asked& asked) {
  const auto record = Find(asked);
  if (!record) return;
  const bool running = record->state == SandboxState::kRunning;
  Finish(asked,
         running ? parts_.fleet.Pause(*record)
                 : Result<void>(Fail(ErrorCode::kConflict, "the sandbox is not running")),
         "PAUSE", 202);
}

void LifecycleFace::Resume(Asked& asked) {
  const auto record = Find(asked);
  if (!record) return;
  const bool paused = record->state == SandboxState::kPaused;
  Finish(asked,
         paused ? parts_.fleet.Resume(*record)
                : Result<void>(Fail(ErrorCode::kConflict, "the sandbox is not paused")),
         "RESUME", 202);
}

void LifecycleFace::Renew(Asked& asked) {
  const http::Reply& reply = asked.call.reply;
  const auto record = Find(asked);
  if (!record) return;
  const Result<json> body = schema::ParseJson(asked.call.body, kSmall);
  if (!body) return SendLifecycleProblem(reply, Unprocessable("body: " + body.error().message));
  if (const auto fits = schemas_.renew.Validate(*body); !fits) {
    return SendLifecycleProblem(reply, Unprocessable(fits.error().message));
  }
  const auto time = ParseRfc3339((*body)["expiresAt"].get_ref<const std::string&>());
  if (!time) {
    return SendLifecycleProblem(
        reply, Unprocessable("expiresAt: must be a time like 2027-01-28T00:00:00Z"));
  }
  const std::int64_t now = parts_.clock.UnixMillis();
  LifecycleProblem bad{.status = 400, .code = "DOCKER::INVALID_EXPIRATION", .message = ""};
  if (*time <= now) {
    bad.message = "expiresAt: must be in the future";
    return SendLifecycleProblem(reply, bad);
  }
  if (*time > now + std::chrono::milliseconds(options_.bounds.max_timeout).count()) {
    bad.message = "expiresAt: at most " + std::to_string(options_.bounds.max_timeout.count()) +
                  " seconds from now (--sandbox-max-timeout-seconds)";
    return SendLifecycleProblem(reply, bad);
  }
  Result<void> renewed = Fail(ErrorCode::kConflict, "the sandbox has failed");
  if (!record->expires_unix_ms) {
    renewed = Fail(ErrorCode::kConflict, "the sandbox never expires");
  } else if (record->state != SandboxState::kFailed) {
    renewed = parts_.fleet.Renew(*record, *time);
  }
  if (!renewed) return Finish(asked, renewed, "RENEW", 200);
  SendLifecycleJson(reply, 200, {{"expiresAt", Rfc3339Millis(*time)}});
}

void LifecycleFace::PatchMetadata(Asked& asked) {
  const http::Reply& reply = asked.call.reply;
  auto record = Find(asked);
  if (!record) return;
  const Result<json> body = schema::ParseJson(asked.call.body, kSmall);
  if (!body) return SendLifecycleProblem(reply, Unprocessable("body: " + body.error().message));
  if (const auto fits = schemas_.metadata.Validate(*body); !fits) {
    return SendLifecycleProblem(reply, Unprocessable(fits.error().message));
  }
  // Somebody else may patch it at the same time; then what he wrote is what is patched.
  for (int tries = 0; tries < kMaxPatchTries; ++tries) {
    const auto merged = MergedLabels(record->metadata, *body);
    if (!merged) return SendLifecycleProblem(reply, merged.error());
    const Result<bool> written = parts_.store.SetMetadata(record->id, record->metadata, *merged);
    if (!written) return SendLifecycleProblem(reply, ToLifecycleProblem(written.error(), "PATCH"));
    if (*written) {
      record->metadata = *merged;
      return SendLifecycleJson(reply, 200, SandboxDocument(*record));
    }
    record = Find(asked);
    if (!record) return;
    if (store::IsFinal(record->state)) break;
  }
  SendLifecycleProblem(
      reply, ToLifecycleProblem({ErrorCode::kConflict, store::IsFinal(record->state)
                                                           ? "the sandbox has ended"
                                                           : "too many change it at once"},
                                "PATCH"));
}

void LifecycleFace::Endpoint(Asked& asked) {
  const http::Call& call = asked.call;
  const std::string digits = call.Param(":port");
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) {
    return SendLifecycleProblem(call.reply, {.status = 400,
                                             .code = "DOCKER::INVALID_PORT",
                                             .message = "port: must be a number from 1 to 65535"});
  }
  std::string text;
  if (call.Query("expires", &text)) {
    return SendLifecycleProblem(call.reply, BadParameter("expires: endpoints are not signed here"));
  }
  bool server_proxy = options_.server_proxy || !parts_.fleet.reachable_elsewhere();
  if (call.Query("use_server_proxy", &text)) {
    if (text != "true" && text != "false" && text != "1" && text != "0") {
      return SendLifecycleProblem(call.reply,
                                  Unprocessable("use_server_proxy: must be true or false"));
    }
    server_proxy = server_proxy || text == "true" || text == "1";
  }
  const auto record = Find(asked);
  if (!record) return;
  if (record->state == SandboxState::kFailed) {
    return SendLifecycleProblem(
        call.reply,
        ToLifecycleProblem({ErrorCode::kConflict,
                            "the sandbox has failed (" + record->reason + "): " + record->message},
                           "ENDPOINT"));
  }
  std::string host = record->address;
  if (server_proxy || host.empty()) {
    const std::string* named = call.Header("Host");
    host = !options_.endpoint.empty() ? options_.endpoint : named == nullptr ? "" : *named;
  }
  if (!IsHost(host)) {
    return SendLifecycleProblem(call.reply, BadParameter("Host: must be a host name or address"));
  }
  SendLifecycleJson(
      call.reply, 200,
      {{"endpoint", host + "/v1/sandboxes/" + record->id + "/proxy/" + std::to_string(port)},
       {"headers", {{"X-EXECD-ACCESS-TOKEN", record->token}}}});
}

}  // namespace forkbox::api
