#include "api/nca_request.h"

#include <utility>

#include "api/json_type.h"
#include "api/python_repr.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;

// What `not value` means in Python.
bool IsFalsy(const json& value) {
  if (value.is_number()) return value == 0;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();  // null, [] and {}
}

tl::unexpected<NcaProblem> Invalid(int status, const std::string& detail) {
  return tl::unexpected(NcaProblem{status, "Invalid payload: " + detail, {}});
}

std::optional<std::string> TakeText(json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end()) return std::nullopt;
  return std::move(found->get_ref<std::string&>());
}

}  // namespace

tl::expected<json, NcaProblem> ParseNcaBody(const http::Call& call, const PythonSchema& schema) {
  if (!IsJsonType(call.Header("Content-Type"))) {
    return tl::unexpected(
        NcaProblem{415, "Unsupported Media Type: the Content-Type must be application/json", {}});
  }
  Result<json> body = schema::ParseJson(call.body);
  if (!body) {
    return tl::unexpected(NcaProblem{400, "Bad Request: " + body.error().message, {}});
  }
  if (IsFalsy(*body)) return tl::unexpected(NcaProblem{400, "Missing JSON in request", {}});
  if (const auto complaint = schema.Complaint(*body)) return Invalid(400, *complaint);
  return *std::move(body);
}

tl::expected<NcaExecuteRequest, NcaProblem> ToNcaExecuteRequest(json body,
                                                                const NcaRequestLimits& limits) {
  NcaExecuteRequest request;
  request.code = *TakeText(body, "code");
  if (request.code.size() > limits.code_bytes) {
    return Invalid(413, "'code' is longer than " + std::to_string(limits.code_bytes) + " bytes");
  }
  if (const auto timeout = body.find("timeout"); timeout != body.end()) {
    request.timeout = std::chrono::seconds(timeout->get<int>());  // 2.0 is one, too
    request.timeout_as_given = PythonRepr(*timeout);
  }
  request.webhook_url = TakeText(body, "webhook_url");
  request.id = TakeText(body, "id");
  if (request.id && request.id->size() > limits.id_bytes) {
    return Invalid(400, "'id' is longer than " + std::to_string(limits.id_bytes) + " bytes");
  }
  // Neither a log nor every store can hold one.
  if (request.id && request.id->find('\0') != std::string::npos) {
    return Invalid(400, "'id' contains a NUL character");
  }
  return request;
}

}  // namespace forkbox::api
