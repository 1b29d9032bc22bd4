// The error body of everything under /api/v1:
//
//   {"error":"validation_error","message":"code: larger than 50 KB",
//    "details":{"field":"code","limit":"50 KB","received":"75 KB"}}
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "api/auth/admission.h"
#include "api/http/fields.h"
#include "api/http/reply.h"
#include "base/result.h"

namespace forkbox::api {

struct Exec0Problem {
  int status = 400;
  std::string message;
  nlohmann::ordered_json details = nlohmann::ordered_json::object();
  http::Fields headers = {};
};

// "validation_error" for 400, "unauthorized" for 401, …
std::string_view Exec0ErrorCode(int status);

// One line of JSON.
std::string Exec0ErrorBody(const Exec0Problem& problem);
void SendExec0Problem(http::Reply& reply, const Exec0Problem& problem);

Exec0Problem ToExec0Problem(const Refusal& refusal);
// By HttpStatusOf(); a 503 asks to come back in a second.
Exec0Problem ToExec0Problem(const Error& error);

// 400. `limit` is what would be right ("at most 50 KB", "5 to 300"), `received` what came, told
// without quoting text of the client.
Exec0Problem InvalidField(std::string_view field, std::string_view limit,
                          nlohmann::ordered_json received);
// 400, of what a RequestSchema said of `body`; and of a body that is no JSON (`body` is then null).
Exec0Problem InvalidBody(const Error& error, const nlohmann::json& body);

// For `received`: numbers, booleans and null as they are; "a string of 5 characters", "an array of
// 3", "an object".
nlohmann::ordered_json Received(const nlohmann::json& value);

// 200 and others, never kept by caches.
void SendExec0(http::Reply& reply, int status, const nlohmann::ordered_json& body,
               http::Fields headers = {});

}  // namespace forkbox::api
