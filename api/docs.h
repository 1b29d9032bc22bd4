// Docs: the OpenAPI document, and a page that shows it without any other server.
//
//   GET /openapi.json, /api/v1/openapi.json, /openapi.yaml
//   GET /scalar, /api/scalar              the page
//   GET /scalar/:asset                    its two scripts: Scalar's bundle, and what starts it
//
// No key is needed: there is nothing here that the repository does not say.
//
// Thread-safe; handlers do not block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/http/server.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::api {

// Scalar's browser bundle (scripts/fetch-scalar.sh), held open: it can be served by a process that
// may not go where it lies.
struct DocsBundle {
  UniqueFd file;
  std::uint64_t bytes = 0;

  // kNotFound, kUnavailable.
  static Result<std::shared_ptr<const DocsBundle>> Open(const std::string& path);
};

class Docs {
 public:
  // `bundle`: null when there is none; then the page is of links only. Shared with whoever makes
  // servers.
  explicit Docs(std::shared_ptr<const DocsBundle> bundle);

  // It must outlive the server's handlers.
  void RegisterOn(http::Server& server);

 private:
  void Asset(http::Call& call) const;
  void Bundle(http::Call& call) const;

  const std::shared_ptr<const DocsBundle> bundle_;
};

}  // namespace forkbox::api
