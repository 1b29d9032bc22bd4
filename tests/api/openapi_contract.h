// Holds answers against schema/openapi.yaml. The tests' HTTP clients call it for every answer, so
// an answer that the document does not have fails the test that got it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/http/fields.h"

namespace forkbox::testing {

// What went over the wire. `status` 0 is no answer, and is not checked.
struct HttpExchange {
  std::string_view method;
  std::string_view target;  // with or without a query
  const http::Fields& request_headers;
  std::string_view request_body;
  int status = 0;
  const http::Fields& headers;
  std::string_view body;
};

// Adds a test failure that names the operation, the status and the first thing that does not fit:
// the status (there are no catch-alls), a required header, the content type, the body. A request
// that was taken (2xx) must itself fit. On paths that are not in the document only 400, 404, 405
// and what the server says to bad framing is right; below a sandbox's "/proxy/" anything, for there
// a program answers.
//
// Extensions of the document that it knows: "x-also-at" of a path, "x-events" (Server-Sent Events
// by name) and "x-json-lines" (a JSON value a line) of a media type, "x-empty" of an answer that
// may have no body.
//
// Thread-safe. Schemas are compiled when they are first needed.
void CheckAgainstOpenApi(const HttpExchange& exchange);

// The first thing that does not fit, or null.
std::optional<std::string> OpenApiProblem(const HttpExchange& exchange);

// The document itself.
const nlohmann::json& OpenApi();

// Schemas as the document has them, by where they stand: what is wrong with `value`, or null.
std::optional<std::string> SchemaProblem(const nlohmann::json& schema, const nlohmann::json& value);

// That member of an object, or an empty object.
const nlohmann::json& MemberOrEmpty(const nlohmann::json& object, const char* name);

// `node`, or what its $ref leads to; null when that is not there.
const nlohmann::json* Resolve(const nlohmann::json& node);

}  // namespace forkbox::testing
