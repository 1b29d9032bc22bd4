// A plain HTTP/1.1 client for tests: one request, one connection, and the bytes as they are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "api/http/fields.h"
#include "base/unique_fd.h"

namespace forkbox::testing {

struct HttpAnswer {
  int status = 0;  // 0 when there was no answer
  http::Fields headers;
  std::string body;

  [[nodiscard]] std::string Header(const std::string& name) const;  // "" when absent
};

struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";
  http::Fields headers;
  std::string body;  // sent with its Content-Length when the method is not GET
};

// Connects to 127.0.0.1:port and sends; the answer is the caller's to read.
UniqueFd SendRequest(std::uint16_t port, const HttpRequest& request);

// Reads to the end of the connection, at most 30 s for each piece. Chunks are joined.
HttpAnswer ReadAnswer(const UniqueFd& connection);

// Both, and checks the answer against schema/openapi.yaml (openapi_contract.h).
HttpAnswer Fetch(std::uint16_t port, const HttpRequest& request);

}  // namespace forkbox::testing
