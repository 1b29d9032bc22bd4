// ExecdCall: one request to a box's execd, in the hands of its handler. The handler has a thread of
// its own and may block.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/call.h"
#include "api/opensandbox/execd_error.h"
#include "base/clock.h"
#include "base/log.h"
#include "runner/execd/daemon.h"

namespace forkbox::api {

// One thread at a time.
struct ExecdCall final : http::Call {
  std::shared_ptr<execd::Daemon> daemon;
  const Clock* clock = nullptr;
  std::stop_token ending;  // its server waits for what runs: what has no end of its own ends now
  std::string sub_path;    // what stands below the mount: "/proxy/8080/x"

  // Whole answers, as http::Call::Answer(): each at most once.
  void Done() { Answer(200, "", ""); }  // an empty success: `Content-Length: 0`
  void Json(int status, const nlohmann::ordered_json& document);
  void Refuse(const ExecdError& error);

  // All values of a query parameter, decoded, in their order.
  [[nodiscard]] std::vector<std::string> Queries(std::string_view name) const;
  // The value of one that must be there: else the call is refused with MISSING_QUERY, and false.
  [[nodiscard]] bool NeedQuery(std::string_view name, std::string* value);
};

struct ExecdRoute {
  http::Method method = http::Method::kGet;
  const char* path = "";  // as http::Router has it
  void (*serve)(ExecdCall& call) = nullptr;
};

// One file each.
std::span<const ExecdRoute> ExecdCommandRoutes();
std::span<const ExecdRoute> ExecdSessionRoutes();
std::span<const ExecdRoute> ExecdCodeRoutes();
std::span<const ExecdRoute> ExecdFileRoutes();
std::span<const ExecdRoute> ExecdUploadRoutes();
std::span<const ExecdRoute> ExecdDownloadRoutes();
std::span<const ExecdRoute> ExecdDirectoryRoutes();
std::span<const ExecdRoute> ExecdMetricsRoutes();
std::span<const ExecdRoute> ExecdPtyRoutes();

// Hands the call on to a port of the box (reference 11). `rest` is what stands behind "/proxy/".
void ServeExecdProxy(ExecdCall& call, std::string_view rest);

}  // namespace forkbox::api
