// What the lifecycle API refuses with, in its shape (reference 14.1).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "api/auth/admission.h"
#include "api/http/reply.h"
#include "base/result.h"

namespace forkbox::api {

struct LifecycleProblem {
  int status = 400;
  std::string code = "SANDBOX::INVALID_PARAMETER";
  std::string message;
  http::Fields headers = {};
};

LifecycleProblem BadParameter(std::string message);   // 400
LifecycleProblem NotSupported(std::string message);   // 501
LifecycleProblem NoSuchSandbox(std::string_view id);  // 404
// 422, of a body or a query that has not the right shape. `message` begins with "field: ".
LifecycleProblem Unprocessable(std::string message);
LifecycleProblem ToLifecycleProblem(const Refusal& refusal);
// Of a sandbox that somebody wanted to `what` ("PAUSE").
LifecycleProblem ToLifecycleProblem(const Error& error, std::string_view what);

std::string LifecycleBody(const LifecycleProblem& problem);
void SendLifecycleProblem(const http::Reply& reply, const LifecycleProblem& problem);
void SendLifecycleJson(const http::Reply& reply, int status, const nlohmann::ordered_json& document,
                       const http::Fields& headers = {});

}  // namespace forkbox::api
