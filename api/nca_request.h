// What a request of the NCA dialect asks for, or what is wrong with it in that dialect's words.
#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "api/http/call.h"
#include "api/python_schema.h"

namespace forkbox::api {

// Shown as {"message":"…"}.
struct NcaProblem {
  int status = 400;
  std::string message;
  http::Fields headers;
};

// A body that is JSON, is not empty in Python's sense ({} and "" are), and fits the schema. Checks
// in this order: 415, 400.
tl::expected<nlohmann::json, NcaProblem> ParseNcaBody(const http::Call& call,
                                                      const PythonSchema& schema);

struct NcaExecuteRequest {
  std::string code;
  std::chrono::seconds timeout{30};
  std::string timeout_as_given = "30";
  std::optional<std::string> webhook_url;  // "": queue it, and tell nobody
  std::optional<std::string> id;
};

struct NcaRequestLimits {
  std::size_t code_bytes = 1 << 20;  // 413
  std::size_t id_bytes = 4096;       // 400
};

// From a body that fits the schema nca_execute.
tl::expected<NcaExecuteRequest, NcaProblem> ToNcaExecuteRequest(nlohmann::json body,
                                                                const NcaRequestLimits& limits);

}  // namespace forkbox::api
