// The NCA toolkit's dialect: POST /v1/code/execute/python, and the toolkit's endpoints that go with
// it (authenticate, job/status, jobs/status, test).
//
// The code is the body of a function; its value is `result`. Without `webhook_url` the caller waits
// and the HTTP status says how it ended; with it (even "") the job is queued, 202, and the same
// answer is POSTed there or asked for by job/status. There is no engine logic here, only the
// mapping to schema::Execution and from store::ExecutionRecord (nca_document.h).
//
// Thread-safe; handlers do not block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/auth/admission.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "api/isolation_choice.h"
#include "api/language_catalog.h"
#include "api/nca_document.h"
#include "api/nca_refusals.h"
#include "api/nca_request.h"
#include "api/python_schema.h"
#include "base/clock.h"

namespace forkbox::api {

class NcaDialect {
 public:
  struct Options {
    std::uint64_t max_queue_length = 0;  // jobs that wait; one more is 429. 0: the lane's limit
    bool stderr_is_error = true;  // a program that wrote there is a 400 even if it ended well
    NcaRequestLimits request;
    std::size_t max_body_bytes = 2 << 20;                   // 413; for code that JSON makes longer
    std::size_t max_listed_jobs = 10'000;                   // of jobs/status
    std::size_t max_refusals = 1'000;                       // that job/status remembers
    IsolationChoice isolation = IsolationChoice::kProcess;  // of all: requests cannot say
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
  static Result<NcaDialect> Create(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // The body limit of a path of this dialect; 0 for "as the server has it".
  [[nodiscard]] std::size_t BodyLimit(std::string_view path) const;

  // What the server answers by itself on paths of this dialect: {"message":"…"}. Null for others.
  static std::optional<http::AnswerBody> ErrorBody(const http::OwnAnswer& answer);

 private:
  struct Schemas {
    PythonSchema execute;
    PythonSchema job_status;
    PythonSchema jobs_status;
  };
  using Handler = void (NcaDialect::*)(http::Call& call, const KeyIdentity& identity);

  NcaDialect(Options options, Parts parts, Schemas schemas);

  // By its key; see Refusal.
  tl::expected<KeyIdentity, NcaProblem> Admit(const http::Call& call, Right right);
  // With who calls; without a key that may, the handler is not called.
  void Route(http::Server& server, http::Method method, const std::string& path, Right right,
             Handler handler);

  void Execute(http::Call& call, const KeyIdentity& identity);
  void RunNow(http::Call& call, schema::Execution execution, const store::AcceptTerms& terms,
              std::optional<std::string> client_id);
  void Enqueue(http::Call& call, schema::Execution execution, const store::AcceptTerms& terms,
               std::optional<std::string> client_id);

  void RegisterToolkitOn(http::Server& server);
  void Authenticate(http::Call& call);
  void JobStatus(http::Call& call, const KeyIdentity& identity);
  void JobsStatus(http::Call& call, const KeyIdentity& identity);
  void TestStorage(http::Call& call, const KeyIdentity& identity);
  // Of a call that is answered here; every call counts as a job of its own.
  [[nodiscard]] NcaEnvelope OwnEnvelope(std::string_view endpoint) const;

  [[nodiscard]] std::uint64_t Waiting() const;  // in the background lane

  Options options_;
  Parts parts_;
  Schemas schemas_;
  NcaProcess process_;
  std::shared_ptr<NcaRefusals> refusals_;  // shared with callbacks of the service
};

// {"message":"…"}, the shape of everything that happens before there is a job.
void SendNcaProblem(http::Reply& reply, const NcaProblem& problem);
void SendNca(http::Reply& reply, const NcaReply& answer);

}  // namespace forkbox::api
