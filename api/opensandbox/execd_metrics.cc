// What a box uses (reference 9), and what it cannot do (12, 13).

#include <array>
#include <chrono>
#include <string>
#include <thread>

#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_stream.h"

namespace forkbox::api {
namespace {

using Json = nlohmann::ordered_json;

Json Sample(ExecdCall& call) {
  const execd::Metrics metrics = call.daemon->metrics().Sample();
  return {{"cpu_count", metrics.cpu_count},
          {"cpu_used_pct", metrics.cpu_used_pct},
          {"mem_total_mib", metrics.mem_total_mib},
          {"mem_used_mib", metrics.mem_used_mib},
          {"timestamp", metrics.timestamp_unix_ms}};
}

void ServeMetrics(ExecdCall& call) { call.Json(200, Sample(call)); }

void ServeWatch(ExecdCall& call) {
  constexpr std::chrono::milliseconds kInterval{1'500};
  constexpr std::chrono::milliseconds kLook{100};  // for a client that has gone
  if (!call.reply.Start(200, "text/event-stream", ExecdStreamFields())) return;
  while (!call.ending.stop_requested() && call.daemon->box().Alive() &&
         WriteAtItsPace(call.reply, Sample(call).dump() + "\n")) {
    for (auto waited = kLook;
         waited < kInterval && !call.ending.stop_requested() && call.reply.Alive();
         waited += kLook) {
      std::this_thread::sleep_for(kLook);
    }
  }
  call.reply.End();
}

void ServeIsolatedCapabilities(ExecdCall& call) {
  call.Json(200, {{"available", false},
                  {"message", "isolated sessions are not supported: the whole sandbox is one"}});
}

void ServeInit(ExecdCall& call) {
  call.Refuse({.status = 501,
               .code = "NOT_SUPPORTED",
               .message = "late initialization is not supported: a sandbox has its token and "
                          "environment from its start"});
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kGet, "/metrics", ServeMetrics},
    ExecdRoute{http::Method::kGet, "/metrics/watch", ServeWatch},
    ExecdRoute{http::Method::kGet, "/v1/isolated/capabilities", ServeIsolatedCapabilities},
    ExecdRoute{http::Method::kPost, "/internal/init", ServeInit},
};

}  // namespace

std::span<const ExecdRoute> ExecdMetricsRoutes() { return kRoutes; }

}  // namespace forkbox::api
