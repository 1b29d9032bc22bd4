#include "api/opensandbox/execd_error.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace forkbox::api {

std::string ExecdError::Body() const {
  nlohmann::ordered_json body = nlohmann::ordered_json::object();
  if (!code.empty()) body["code"] = code;
  if (!message.empty()) body["message"] = message;
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ExecdError InvalidBody(std::string message) {
  return {.status = 400, .code = "INVALID_REQUEST_BODY", .message = std::move(message)};
}

ExecdError UnparsableBody(const Error& error) {
  return InvalidBody("error parsing request, MAYBE invalid body format. " + error.message);
}

ExecdError FailedCall(const Error& error, std::string_view not_found, std::string_view prefix) {
  ExecdError refusal{.status = 500, .code = "RUNTIME_ERROR", .message = std::string(prefix)};
  refusal.message += error.message;
  switch (error.code) {
    case ErrorCode::kNotFound:
      refusal.status = 404;
      refusal.code = not_found;
      break;
    case ErrorCode::kInvalidArgument:
      refusal.status = 400;
      refusal.code = "INVALID_REQUEST_BODY";
      break;
    case ErrorCode::kQueueFull:
    case ErrorCode::kUnavailable:
      refusal.status = 503;
      break;
    default:
      break;
  }
  return refusal;
}

}  // namespace forkbox::api
