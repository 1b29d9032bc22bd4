#include "api/opensandbox/execd_error.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace forkbox::api {
namespace {

// What a failed system call in the box is to the one who asked for it.
struct Verdict {
  std::string_view words;
  int status;
  std::string_view code;
};

// As `execd::SystemWords` writes them, and the words of the agent's own checks.
constexpr std::array kByEnd{
    Verdict{": not a directory", 400, "INVALID_REQUEST_BODY"},
    Verdict{": is a directory", 400, "INVALID_REQUEST_BODY"},
    Verdict{": not a regular file", 400, "INVALID_REQUEST_BODY"},
    Verdict{": not a regular file of the sandbox", 400, "INVALID_REQUEST_BODY"},
    Verdict{": invalid argument", 400, "INVALID_REQUEST_BODY"},
    Verdict{": invalid cross-device link", 400, "INVALID_REQUEST_BODY"},
    Verdict{": too many levels of symbolic links", 400, "INVALID_REQUEST_BODY"},
    Verdict{": permission denied", 403, "FORBIDDEN"},
    Verdict{": operation not permitted", 403, "FORBIDDEN"},
    Verdict{": read-only file system", 403, "FORBIDDEN"},
    Verdict{": file exists", 409, "CONFLICT"},
    Verdict{": directory not empty", 409, "CONFLICT"},
    Verdict{": device or resource busy", 409, "CONFLICT"},
    Verdict{": text file busy", 409, "CONFLICT"},
    Verdict{": no space left on device", 507, "INSUFFICIENT_STORAGE"},
    Verdict{": disk quota exceeded", 507, "INSUFFICIENT_STORAGE"},
};
constexpr std::array kByBegin{
    Verdict{"path is a directory: ", 400, "INVALID_REQUEST_BODY"},
    Verdict{"unknown user ", 400, "INVALID_REQUEST_BODY"},
    Verdict{"unknown group ", 400, "INVALID_REQUEST_BODY"},
};

const Verdict* VerdictOf(std::string_view message) {
  for (const Verdict& verdict : kByBegin) {
    if (message.starts_with(verdict.words)) return &verdict;
  }
  for (const Verdict& verdict : kByEnd) {
    if (message.ends_with(verdict.words)) return &verdict;
  }
  return nullptr;
}

}  // namespace

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
    case ErrorCode::kConflict:
      refusal.status = 409;
      refusal.code = "CONFLICT";
      break;
    case ErrorCode::kQueueFull:
      refusal.status = 429;
      refusal.code = "TOO_MANY_REQUESTS";
      break;
    case ErrorCode::kUnavailable:
      refusal.status = 503;
      break;
    default:
      break;
  }
  return refusal;
}

ExecdError FailedFile(const Error& error, std::string_view prefix) {
  ExecdError refusal = FailedCall(error, "FILE_NOT_FOUND", prefix);
  if (refusal.status != 500) return refusal;
  if (const Verdict* const verdict = VerdictOf(error.message)) {
    refusal.status = verdict->status;
    refusal.code = verdict->code;
  }
  return refusal;
}

}  // namespace forkbox::api
