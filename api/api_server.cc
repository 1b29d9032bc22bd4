#include "api/api_server.h"

#include <algorithm>
#include <utility>

#include "api/auth/key_gate.h"
#include "api/auth/presented_keys.h"
#include "api/opensandbox/execd_limits.h"
#include "webhook/url_check.h"

namespace forkbox::api {
namespace {

// Needs no key, and must answer when the store does not.
bool IsPublic(const std::string& path) {
  for (const char* end : {"/health", "/languages", "/metrics", "/openapi.json", "/openapi.yaml",
                          "/scalar", "/scalar/:asset"}) {
    if (path.ends_with(end)) return true;
  }
  return false;
}

}  // namespace

ApiServer::ApiServer(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      started_at_(parts_.clock.Now()),
      languages_(
          [this] {
            auto all = parts_.languages ? parts_.languages() : store_probe_->RunnerLanguages();
            for (auto& one : all) one.default_limits.output_bytes = options_.max_output_bytes;
            return all;
          },
          parts_.clock,
          [this]() -> std::optional<runner::VmService> {
            std::optional<runner::VmService> vm;
            if (parts_.vm) {
              vm = parts_.vm();
            } else if (!parts_.languages) {
              vm = store_probe_->RunnerVm();
            }
            if (!vm) return vm;
            for (auto& one : vm->languages) {
              one.default_limits.output_bytes = options_.max_output_bytes;
            }
            return vm;
          }),
      keys_(options_.keys, parts_.authenticator, parts_.store.keys(), parts_.clock, parts_.log),
      admission_(options_.admission, keys_, parts_.clock) {}

ApiServer::~ApiServer() { Stop(); }

Result<void> ApiServer::Start() {
  if (Result<void> read = keys_.Start(); !read) {
    return Fail(read.error().code, "read the keys: " + read.error().message);
  }
  if (!keys_.enabled()) {
    if (!IsLoopback(options_.http.address) && !options_.insecure_no_auth) {
      return Fail(ErrorCode::kInvalidArgument,
                  "without keys anybody who reaches " + options_.http.address +
                      " could run code here: give keys (`forkbox keys create`, "
                      "FORKBOX_KEYS_FILE), or listen on 127.0.0.1, or say --insecure-no-auth");
    }
    parts_.log.Warn("auth.disabled", {{"address", options_.http.address}});
  }

  if (options_.isolation_floor == schema::Isolation::kVm) options_.isolation = IsolationChoice::kVm;
  options_.exec0.request.isolation_floor = options_.isolation_floor;
  options_.zeroboot.isolation = options_.nca.isolation = options_.exec0.request.isolation =
      options_.isolation;
  store_probe_ = std::make_unique<StoreProbe>(options_.store_probe, parts_.store, parts_.clock);
  Result<ZerobootDialect> zeroboot = ZerobootDialect::Create(
      options_.zeroboot, {parts_.service, languages_, admission_, *store_probe_, parts_.clock});
  if (!zeroboot) return Fail(zeroboot.error());
  zeroboot_ = std::make_unique<ZerobootDialect>(*std::move(zeroboot));

  const auto check_webhook_url = [guard = parts_.address_guard](std::string_view url) {
    return webhook::CheckWebhookUrl(url, guard);
  };
  Result<NcaDialect> nca = NcaDialect::Create(
      options_.nca, {parts_.service, languages_, admission_, parts_.clock, check_webhook_url});
  if (!nca) return Fail(nca.error());
  nca_ = std::make_unique<NcaDialect>(*std::move(nca));
  Result<std::unique_ptr<Exec0Dialect>> exec0 = Exec0Dialect::Create(
      options_.exec0, {parts_.service, languages_, admission_, parts_.clock, check_webhook_url});
  if (!exec0) return Fail(exec0.error());
  exec0_ = *std::move(exec0);
  native_ = std::make_unique<NativeApi>(
      options_.native, NativeApi::Parts{parts_.service, parts_.store, parts_.broker, admission_,
                                        *store_probe_, languages_, parts_.clock, parts_.log});

  events_ = std::make_unique<EventStream>(
      options_.events, EventStream::Parts{parts_.service, parts_.store.executions(), parts_.broker,
                                          admission_, parts_.clock, parts_.log});
  Result<std::unique_ptr<Exec0Keys>> exec0_keys = Exec0Keys::Create(
      options_.exec0_keys, {parts_.store, keys_, admission_, parts_.clock, parts_.log});
  if (!exec0_keys) return Fail(exec0_keys.error());
  exec0_keys_ = *std::move(exec0_keys);
  exec0_account_ = std::make_unique<Exec0Account>(
      options_.exec0_account, Exec0Account::Parts{parts_.store, admission_, parts_.clock});

  if (parts_.sandboxes != nullptr) {
    Result<std::unique_ptr<LifecycleFace>> lifecycle = LifecycleFace::Create(
        options_.lifecycle,
        {*parts_.sandboxes, parts_.store.sandboxes(), admission_, parts_.clock, parts_.log});
    if (!lifecycle) return Fail(lifecycle.error());
    lifecycle_ = *std::move(lifecycle);
  }

  http::Server::Options http = options_.http;
  http.log = parts_.log;
  if (lifecycle_) WidenForExecd(&http.limits);
  // A path may take more than the rest, never less.
  const auto limit_of = [this, otherwise = http.limits.max_body_bytes](std::string_view path) {
    return std::max(
        {zeroboot_->BodyLimit(path), nca_->BodyLimit(path), exec0_->BodyLimit(path), otherwise});
  };
  http.body_limit = [this, limit_of, otherwise = http.limits.max_body_bytes](
                        http::Method, std::string_view target, const http::Fields& fields) {
    const std::string_view path = target.substr(0, target.find('?'));
    if (lifecycle_) {
      const std::size_t own = lifecycle_->BodyLimit(path, fields);
      if (own != 0) return std::max(own, otherwise);
    }
    const std::size_t limit = limit_of(path);
    if (limit <= otherwise || !keys_.enabled()) return limit;
    // Strangers get no memory. A key made elsewhere a moment ago is one until it was used once, or
    // for half a second.
    const auto keys = PresentedKeys(fields);
    const bool known = std::any_of(keys.begin(), keys.end(),
                                   [this](std::string_view key) { return keys_.Holds(key); });
    return known ? limit : otherwise;
  };
  http.error_body = [this, limit_of,
                     otherwise = http.limits.max_body_bytes](const http::OwnAnswer& answer) {
    if (auto body = NcaDialect::ErrorBody(answer)) return *std::move(body);
    if (lifecycle_) {
      if (auto body = LifecycleFace::ErrorBody(answer)) return *std::move(body);
    }
    const std::size_t limit = limit_of(answer.path);
    if (auto body = NativeApi::ErrorBody(answer, limit, keys_.enabled() ? otherwise : limit)) {
      return *std::move(body);
    }
    return ZerobootDialect::ErrorBody(answer);
  };
  http.before_handler = [this](const std::string& path, http::Handler handler) {
    if (IsPublic(path) || LifecycleFace::IsOpen(path)) return handler;
    return BehindKeyGate(keys_, std::move(handler));
  };
  http.on_request = [metrics = &parts_.metrics](const http::RequestRecord& request) {
    metrics->HttpRequest(request.method, request.route, request.status);
  };
  server_ = std::make_unique<http::Server>(std::move(http));
  zeroboot_->RegisterOn(*server_);
  nca_->RegisterOn(*server_);
  exec0_->RegisterOn(*server_);
  native_->RegisterOn(*server_);
  events_->RegisterOn(*server_);
  exec0_keys_->RegisterOn(*server_);
  exec0_account_->RegisterOn(*server_);
  if (lifecycle_) lifecycle_->RegisterOn(*server_);
  docs_ = std::make_unique<Docs>(std::move(options_.docs));
  docs_->RegisterOn(*server_);
  for (const char* path : {"/v1/metrics", "/metrics"}) {
    server_->Route(http::Method::kGet, path, [this](http::Call& call) { ServeMetrics(call); });
  }
  return server_->Start();
}

std::uint16_t ApiServer::port() const { return server_ ? server_->port() : std::uint16_t{0}; }

std::vector<http::Server::RouteName> ApiServer::routes() const {
  return server_ ? server_->routes() : std::vector<http::Server::RouteName>{};
}

std::size_t ApiServer::Drain(std::chrono::milliseconds timeout) {
  if (events_) events_->EndStreams();
  if (lifecycle_) lifecycle_->EndStreams();
  return server_ ? server_->Drain(timeout) : 0;
}

void ApiServer::Stop() {
  if (server_) server_->Stop();
  keys_.Stop();
  if (exec0_) exec0_->Close();
  if (native_) native_->Close();
  if (events_) events_->Close();
  if (exec0_keys_) exec0_keys_->Close();
  if (exec0_account_) exec0_account_->Close();
  if (lifecycle_) lifecycle_->Close();
}

void ApiServer::ServeMetrics(http::Call& call) {
  Metrics::Readings readings;
  if (parts_.pool_stats) {
    const sandbox::DriverStats stats = parts_.pool_stats();
    readings.pool_hits = stats.pool_hits;
    readings.pool_misses = stats.pool_misses;
    readings.pool_ready = stats.pool_ready;
  }
  if (const auto vm = languages_.Vm()) {
    readings.vm_state = sandbox::vm::ToString(vm->status.state);
    readings.vm_machines_ready = vm->machines_ready;
  }
  readings.http_connections = server_->stats().connections;
  if (const auto seen = store_probe_->Snapshot(); seen && store_probe_->Status()) {
    readings.queue_known = true;
    const auto add = [&](schema::Priority lane, const store::LaneCounts& counts) {
      const Result<queue::Depth> depth = parts_.broker.GetDepth(lane);
      const std::int64_t age = counts.oldest_queued_unix_ms == 0
                                   ? 0
                                   : seen->taken_unix_ms - counts.oldest_queued_unix_ms;
      readings.lanes.push_back(
          {.name = std::string(ToString(lane)),
           .waiting = counts.queued,
           .running = counts.running,
           .limit = depth ? depth->limit : 0,
           .oldest_waiting = std::chrono::milliseconds(std::max<std::int64_t>(0, age))});
    };
    add(schema::Priority::kInteractive, seen->executions.interactive);
    add(schema::Priority::kBackground, seen->executions.background);
    readings.runners = seen->runners.size();
    for (const auto& runner : seen->runners) {
      readings.runner_slots += runner.info.slots;
      if (runner.details.sandboxes) readings.sandboxes += runner.details.sandboxes->live;
    }
    readings.webhooks_pending = seen->deliveries.pending;
    readings.webhooks_dead = seen->deliveries.dead;
  }
  readings.uptime =
      std::chrono::duration_cast<std::chrono::milliseconds>(parts_.clock.Now() - started_at_);
  call.reply.Send(200, Metrics::kContentType, parts_.metrics.Render(readings));
}

}  // namespace forkbox::api
