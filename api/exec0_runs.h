// Exec0Runs: gets one understood request run, and words what became of it. The call and its batch
// share it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "api/auth/key_identity.h"
#include "api/exec0_error.h"
#include "api/exec0_request.h"
#include "api/execution_service.h"
#include "api/http/reply.h"
#include "base/clock.h"
#include "schema/execution.h"

namespace forkbox::api {

struct Exec0Answer {
  int status = 200;
  std::string body;  // JSON of one line
  http::Fields headers;
};

// On whose behalf.
struct Exec0Caller {
  KeyIdentity identity;
  std::string request_id;
  std::string client_address;
  std::string idempotency_key;  // "" for none
  // How long it may wait for others of the account to end; see ExecutionService::Submit().
  std::chrono::milliseconds patience{0};
  http::Reply reply;  // only asked whether its client is still there
};

// Thread-safe; nothing here blocks. Its callbacks do not need it any more.
class Exec0Runs {
 public:
  using Done = std::function<void(Exec0Answer)>;  // once, from any thread

  struct Parts {
    ExecutionService& service;
    const Clock& clock;
    // Whether a webhook can go there; see webhook/url_check.h.
    std::function<Result<void>(std::string_view url)> check_webhook_url;
  };
  explicit Exec0Runs(Parts parts) : parts_(std::move(parts)) {}

  // `request` as ToExec0Request() made it; `where` is what stands before names of its fields.
  // Returns what to cancel when the client leaves: nothing when it runs on without him.
  std::optional<schema::ExecutionId> Start(Exec0Request request, const Exec0Caller& caller,
                                           const std::string& where, Done done) const;

  // X-RateLimit-* as this process knows them now; none for those without such a limit.
  [[nodiscard]] http::Fields RateHeaders(const KeyIdentity& identity) const;

 private:
  const Parts parts_;
};

// A problem with the rate headers of whoever asked.
Exec0Answer ToAnswer(const Exec0Problem& problem, const http::Fields& rate_headers);

}  // namespace forkbox::api
