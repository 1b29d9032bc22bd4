// The bodies of POST /api/v1/execute and, item by item, of its batch.
//
// What is wrong is told by its field, what it must be and what it was; a client's text is never
// quoted. Unknown fields are ignored: Exec0's own web client sends some.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "api/exec0_error.h"
#include "api/isolation_choice.h"
#include "api/language_catalog.h"
#include "schema/execution.h"
#include "schema/request_schema.h"

namespace forkbox::api {

struct Exec0RequestLimits {
  std::size_t max_code_bytes = 50 << 10;
  std::size_t max_stdin_bytes = 1 << 20;
  std::size_t max_file_bytes = 10 << 20;
  std::size_t max_files_bytes = 50 << 20;   // all files of a request together
  std::size_t max_tests_bytes = 8 << 20;    // their input and expected output together
  std::size_t max_words_bytes = 64 << 10;   // args and env together
  std::size_t max_output_bytes = 64 << 10;  // kept of each stream
  // Kept of all streams of all runs of one call; each then keeps its share if that is less.
  std::size_t max_call_output_bytes = 16 << 20;
  std::chrono::milliseconds default_timeout{30'000};
  IsolationChoice isolation = IsolationChoice::kProcess;  // of requests that do not say
  // The least that a request may ask for; kVm makes "auto" a virtual machine, too.
  schema::Isolation isolation_floor = schema::Isolation::kProcess;
};

struct Exec0Request {
  // language, source, limits, isolation, delivery, priority and webhook_url are set.
  schema::Execution execution;
  // What the request said, or what the server does where it says nothing; not what it came to: the
  // same request may come to something else later.
  std::string asked_isolation = {};
};

// `body` is consumed. `where` is what stands before the names of fields: "" or "executions[3].".
tl::expected<Exec0Request, Exec0Problem> ToExec0Request(nlohmann::json body,
                                                        const std::string& where,
                                                        const schema::RequestSchema& schema,
                                                        const Exec0RequestLimits& limits,
                                                        LanguageCatalog& languages);

// An Idempotency-Key header: 1 to 255 printable characters of ASCII.
tl::expected<std::string, Exec0Problem> ToIdempotencyKey(const std::string& text);

// Caps what each run of `executions` runs in all may keep of its output.
void ShareOutput(schema::Limits* limits, const Exec0RequestLimits& bounds, std::size_t runs);

}  // namespace forkbox::api
