#include "api/opensandbox/execd_call.h"

#include <utility>

namespace forkbox::api {

void ExecdCall::Json(int status, const nlohmann::ordered_json& document) {
  Answer(status, "application/json; charset=utf-8",
         document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void ExecdCall::Refuse(const ExecdError& error) {
  http::Fields headers;
  if (error.status == 429 || error.status == 503) headers.emplace_back("Retry-After", "1");
  Answer(error.status, "application/json; charset=utf-8", error.Body(), headers);
}

std::vector<std::string> ExecdCall::Queries(std::string_view name) const {
  std::vector<std::string> values;
  std::string_view rest = raw_query;
  std::string decoded;
  while (!rest.empty()) {
    const std::size_t ampersand = rest.find('&');
    const std::string_view pair = rest.substr(0, ampersand);
    rest = ampersand == rest.npos ? std::string_view() : rest.substr(ampersand + 1);
    const std::size_t equals = pair.find('=');
    if (!http::PercentDecode(pair.substr(0, equals), true, &decoded) || decoded != name) continue;
    const auto raw = equals == pair.npos ? std::string_view() : pair.substr(equals + 1);
    if (http::PercentDecode(raw, true, &decoded)) values.push_back(decoded);
  }
  return values;
}

bool ExecdCall::NeedQuery(std::string_view name, std::string* value) {
  if (Query(name, value) && !value->empty()) return true;
  Refuse({.status = 400,
          .code = "MISSING_QUERY",
          .message = "missing query parameter '" + std::string(name) + "'"});
  return false;
}

}  // namespace forkbox::api
