// Exec0's dialect, and what we add to it on the same paths:
//
//   POST /api/v1/execute              waits; `async` or `webhook_url`: 202 and Location
//   POST /api/v1/execute/batch        {"executions":[…]} → {"results":[…]} in the same order
//                                     (as many at a time as the account may run)
//   GET  /api/v1/executions           the account's history, newest first
//   GET  /api/v1/executions/{id}, /executions/{id}
//   GET  /api/v1/languages            no key needed
//
// A program's failure is a 200 that says so; 4xx is for requests. There is no engine logic here:
// exec0_request.h has the way in, execution_document.h the way out.
//
// Thread-safe; handlers do not block. Large bodies are read on threads of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/auth/admission.h"
#include "api/call_pool.h"
#include "api/exec0_request.h"
#include "api/exec0_runs.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "api/language_catalog.h"
#include "base/clock.h"
#include "schema/request_schema.h"

namespace forkbox::api {

class Exec0Dialect {
 public:
  struct Options {
    Exec0RequestLimits request;
    // Files of 50 MiB fit unless JSON makes them much longer; 413. Each takes that much of the
    // server's budget for bodies, and again as much while it is read.
    std::size_t max_body_bytes = 64U << 20;
    // Of each stream of an execution in a list: others than Exec0's keep more.
    std::size_t max_listed_text_bytes = 64U << 10;
    std::size_t inline_body_bytes = 256U << 10;  // larger ones are read on the threads below
    std::size_t threads = 2;
    std::size_t max_waiting_calls = 200;
  };
  // All must outlive the dialect, and the dialect the server it is registered with.
  struct Parts {
    ExecutionService& service;
    LanguageCatalog& languages;
    Admission& admission;
    const Clock& clock;
    // Whether a webhook can go there; see webhook/url_check.h.
    std::function<Result<void>(std::string_view url)> check_webhook_url;
  };

  // kInternal when the program was built without its request schemas.
  static Result<std::unique_ptr<Exec0Dialect>> Create(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // The body limit of a path of this dialect; 0 for "as the server has it".
  [[nodiscard]] std::size_t BodyLimit(std::string_view path) const;

  // Drops what waits; to be called before the store goes away.
  void Close() { calls_.Close(); }

 private:
  using Handler = void (Exec0Dialect::*)(http::Call& call, const KeyIdentity& identity);

  Exec0Dialect(Options options, Parts parts, schema::RequestSchema execute,
               schema::RequestSchema batch);

  void RoutePost(http::Server& server, const char* path, Handler handler);

  // The body as JSON, checked as far as every call needs it.
  static tl::expected<nlohmann::json, Exec0Problem> ReadBody(const http::Call& call);
  [[nodiscard]] tl::expected<Exec0Caller, Exec0Problem> CallerOf(const http::Call& call,
                                                                 const KeyIdentity& identity) const;
  void Execute(http::Call& call, const KeyIdentity& identity);
  void Batch(http::Call& call, const KeyIdentity& identity);
  void GetExecution(http::Call& call);
  void ListExecutions(http::Call& call);
  void Languages(http::Call& call);

  const Options options_;
  const Parts parts_;
  const schema::RequestSchema execute_schema_;
  const schema::RequestSchema batch_schema_;
  const Exec0Runs runs_;
  CallPool calls_;  // last: its threads use all of the above
};

}  // namespace forkbox::api
