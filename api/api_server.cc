#include "api/api_server.h"

#include <algorithm>
#include <utility>

namespace forkbox::api {

ApiServer::ApiServer(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      started_at_(parts_.clock.Now()),
      languages_(parts_.languages, parts_.clock),
      admission_(options_.admission, parts_.authenticator, parts_.clock) {}

ApiServer::~ApiServer() { Stop(); }

Result<void> ApiServer::Start() {
  if (!parts_.authenticator.enabled()) {
    if (!IsLoopback(options_.http.address) && !options_.insecure_no_auth) {
      return Fail(ErrorCode::kInvalidArgument,
                  "without keys anybody who reaches " + options_.http.address +
                      " could run code here: give keys (`forkbox keys create`, "
                      "FORKBOX_KEYS_FILE), or listen on 127.0.0.1, or say --insecure-no-auth");
    }
    parts_.log.Warn("auth.disabled", {{"address", options_.http.address}});
  }

  store_probe_ = std::make_unique<StoreProbe>(options_.store_probe, parts_.store, parts_.clock);
  Result<ZerobootDialect> zeroboot = ZerobootDialect::Create(
      options_.zeroboot, {parts_.service, languages_, admission_, *store_probe_, parts_.clock});
  if (!zeroboot) return Fail(zeroboot.error());
  zeroboot_ = std::make_unique<ZerobootDialect>(*std::move(zeroboot));

  http::Server::Options http = options_.http;
  http.log = parts_.log;
  http.body_limit = [dialect = zeroboot_.get(), otherwise = http.limits.max_body_bytes](
                        http::Method, std::string_view target) {
    const std::size_t limit = dialect->BodyLimit(target.substr(0, target.find('?')));
    return std::max(limit, otherwise);  // a path may take more than the rest, never less
  };
  http.on_request = [metrics = &parts_.metrics](const http::RequestRecord& request) {
    metrics->HttpRequest(request.method, request.route, request.status);
  };
  server_ = std::make_unique<http::Server>(std::move(http));
  zeroboot_->RegisterOn(*server_);
  for (const char* path : {"/v1/metrics", "/metrics"}) {
    server_->Route(http::Method::kGet, path, [this](http::Call& call) { ServeMetrics(call); });
  }
  return server_->Start();
}

std::uint16_t ApiServer::port() const { return server_ ? server_->port() : std::uint16_t{0}; }

std::size_t ApiServer::Drain(std::chrono::milliseconds timeout) {
  return server_ ? server_->Drain(timeout) : 0;
}

void ApiServer::Stop() {
  if (server_) server_->Stop();
}

void ApiServer::ServeMetrics(http::Call& call) {
  Metrics::Readings readings;
  if (parts_.pool_stats) {
    const sandbox::DriverStats stats = parts_.pool_stats();
    readings.pool_hits = stats.pool_hits;
    readings.pool_misses = stats.pool_misses;
    readings.pool_ready = stats.pool_ready;
  }
  readings.http_connections = server_->stats().connections;
  for (const schema::Priority lane :
       {schema::Priority::kInteractive, schema::Priority::kBackground}) {
    if (const Result<queue::Depth> depth = parts_.broker.GetDepth(lane)) {
      readings.queue_depth.emplace_back(ToString(lane), depth->waiting);
    }
  }
  readings.uptime =
      std::chrono::duration_cast<std::chrono::milliseconds>(parts_.clock.Now() - started_at_);
  call.reply.Send(200, Metrics::kContentType, parts_.metrics.Render(readings));
}

}  // namespace forkbox::api
