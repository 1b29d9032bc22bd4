// Exec0Account: what an account has used, may use, and has done.
//
//   GET /api/v1/usage            a period's executions in numbers, and what is left of the quota
//   GET /api/v1/usage/summary    the numbers alone, in upstream's shape
//   GET /api/v1/usage/details    one record an execution, oldest first
//   GET /api/v1/limits           what is allowed, and what is left of this minute and month
//   GET /api/v1/audit            who did what, newest first
//
// Handlers never block: the store is asked on threads of its own.
#pragma once

#include <cstddef>
#include <functional>

#include "api/auth/admission.h"
#include "api/call_pool.h"
#include "api/exec0_request.h"
#include "api/http/server.h"
#include "base/clock.h"
#include "store/store.h"

namespace forkbox::api {

class Exec0Account {
 public:
  struct Options {
    std::size_t threads = 2;
    std::size_t max_waiting_calls = 1'000;
    Exec0RequestLimits request;  // for /limits
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    store::Store& store;
    Admission& admission;
    const Clock& clock;
  };

  Exec0Account(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // Answers what waits; to be called before the store goes away.
  void Close() { calls_.Close(); }

 private:
  using Handler = void (Exec0Account::*)(http::Call& call, const KeyIdentity& identity);

  void Route(http::Server& server, const char* path, Right right, Handler handler);

  void Usage(http::Call& call, const KeyIdentity& identity);
  void Summary(http::Call& call, const KeyIdentity& identity);
  void Details(http::Call& call, const KeyIdentity& identity);
  void Limits(http::Call& call, const KeyIdentity& identity);
  void Audit(http::Call& call, const KeyIdentity& identity);

  // `work` on a thread of ours, with the reply to answer.
  void Later(http::Call& call, std::function<void(http::Reply&)> work);

  const Options options_;
  const Parts parts_;
  CallPool calls_;
};

}  // namespace forkbox::api
