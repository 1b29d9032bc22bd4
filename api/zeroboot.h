// Zeroboot's dialect: POST /v1/exec and /v1/exec/batch, GET /v1/health.
//
// Every ending of a program is a 200 that says how it ended; 4xx are for requests that could not
// be accepted, 5xx for us. A bad body is reported before a missing key, as Zeroboot does. All
// errors have the body {"error":"…"}. There is no engine logic here, only the mapping to
// schema::Execution and from schema::Outcome.
//
// Thread-safe; handlers do not block.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "api/auth/admission.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "api/isolation_choice.h"
#include "api/language_catalog.h"
#include "api/store_probe.h"
#include "base/clock.h"
#include "schema/execution.h"
#include "schema/request_schema.h"

namespace forkbox::api {

class ZerobootDialect {
 public:
  struct Options {
    std::chrono::seconds default_timeout{30};
    std::chrono::seconds max_timeout{300};       // more is silently cut to this, as upstream does
    std::size_t max_code_bytes = 1 << 20;        // 413
    std::size_t max_batch_items = 100;           // 422
    std::size_t max_batch_body_bytes = 2 << 20;  // 413; upstream's limit for any body
    // Of each stream, of all items together: a batch is held in memory until its last item ends.
    std::size_t max_batch_output_bytes = 16 << 20;
    IsolationChoice isolation = IsolationChoice::kProcess;  // of all: requests cannot say
  };
  // All must outlive the dialect, and the dialect the server it is registered with.
  struct Parts {
    ExecutionService& service;
    LanguageCatalog& languages;
    Admission& admission;
    const StoreProbe& store;
    const Clock& clock;
  };

  // kInternal when the program was built without its request schemas.
  static Result<ZerobootDialect> Create(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // What the server answers by itself where no other dialect has a shape of its own.
  static http::AnswerBody ErrorBody(const http::OwnAnswer& answer);

  // The body limit of a path of this dialect; 0 for "as the server has it".
  [[nodiscard]] std::size_t BodyLimit(std::string_view path) const;

 private:
  ZerobootDialect(Options options, Parts parts, schema::RequestSchema exec,
                  schema::RequestSchema batch);

  void Exec(http::Call& call);
  void Batch(http::Call& call);
  void Health(http::Call& call);

  Options options_;
  Parts parts_;
  schema::RequestSchema exec_schema_;
  schema::RequestSchema batch_schema_;
};

// The response to one execution, as JSON text. `timeout` is the one it ran under.
std::string ZerobootResponse(const schema::ExecutionId& id, const schema::Outcome& outcome,
                             std::chrono::seconds timeout);

}  // namespace forkbox::api
