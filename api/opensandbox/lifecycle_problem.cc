#include "api/opensandbox/lifecycle_problem.h"

#include <utility>

#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;

constexpr char kJsonType[] = "application/json";

}  // namespace

LifecycleProblem BadParameter(std::string message) { return {.message = std::move(message)}; }

LifecycleProblem NotSupported(std::string message) {
  return {.status = 501, .code = "SANDBOX::API_NOT_SUPPORTED", .message = std::move(message)};
}

LifecycleProblem NoSuchSandbox(std::string_view id) {
  // The id came in a URL.
  return {.status = 404,
          .code = "DOCKER::SANDBOX_NOT_FOUND",
          .message = "Sandbox " + std::string(id.substr(0, 64)) + " not found."};
}

LifecycleProblem Unprocessable(std::string message) {
  return {.status = 422, .message = std::move(message)};
}

LifecycleProblem ToLifecycleProblem(const Refusal& refusal) {
  LifecycleProblem problem{.status = refusal.status,
                           .code = "SANDBOX::UNKNOWN_ERROR",
                           .message = refusal.message,
                           .headers = refusal.headers};
  if (refusal.status == 401) {
    const bool missing = refusal.message.starts_with("Missing");
    problem.code = missing ? "MISSING_API_KEY" : "INVALID_API_KEY";
    if (missing) {
      problem.message =
          "Authentication credentials are missing. Provide an API key in the "
          "OPEN-SANDBOX-API-KEY header.";
    }
  } else if (refusal.status == 403) {
    problem.code = "FORBIDDEN";
  } else if (refusal.status == 429) {
    problem.code = "RATE_LIMITED";
  }
  return problem;
}

LifecycleProblem ToLifecycleProblem(const Error& error, std::string_view what) {
  LifecycleProblem problem{.message = error.message};
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
      break;
    case ErrorCode::kUnauthenticated:
      problem.status = 401;
      problem.code = "INVALID_API_KEY";
      break;
    case ErrorCode::kNotFound:
      problem.status = 404;
      problem.code = "DOCKER::SANDBOX_NOT_FOUND";
      break;
    case ErrorCode::kConflict:
      problem.status = 409;
      problem.code = what == "RESUME"  ? "DOCKER::SANDBOX_NOT_PAUSED"
                     : what == "RENEW" ? "DOCKER::EXPIRATION_NOT_EXTENDED"
                                       : "DOCKER::SANDBOX_NOT_RUNNING";
      break;
    case ErrorCode::kQueueFull:
      problem.status = 429;
      problem.code = "SANDBOX::TOO_MANY_SANDBOXES";
      problem.headers = {{"Retry-After", "10"}};
      break;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
      problem.status = 503;
      problem.code = "DOCKER::SANDBOX_" + std::string(what) + "_FAILED";
      problem.headers = {{"Retry-After", "1"}};
      break;
    case ErrorCode::kInternal:
      problem.status = 500;
      problem.code = "DOCKER::SANDBOX_" + std::string(what) + "_FAILED";
      problem.message = "it failed inside; the request id is in the log";
      break;
  }
  return problem;
}

std::string LifecycleBody(const LifecycleProblem& problem) {
  ordered_json document{{"code", problem.code}, {"message", problem.message}};
  if (problem.status == 422) {
    ordered_json where{"body"};
    if (const auto colon = problem.message.find(": "); colon != std::string::npos) {
      where.push_back(problem.message.substr(0, colon));
    }
    document["detail"] = ordered_json::array(
        {{{"type", "value_error"}, {"loc", std::move(where)}, {"msg", problem.message}}});
  }
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void SendLifecycleProblem(const http::Reply& reply, const LifecycleProblem& problem) {
  http::Reply(reply).Send(problem.status, kJsonType, LifecycleBody(problem), problem.headers);
}

void SendLifecycleJson(const http::Reply& reply, int status, const ordered_json& document,
                       const http::Fields& headers) {
  http::Reply(reply).Send(status, kJsonType,
                          document.dump(-1, ' ', false, ordered_json::error_handler_t::replace),
                          headers);
}

}  // namespace forkbox::api
