// Exec0Account: what an account has used, may use, and has done.
//
//   GET /api/v1/usage            a period's executions in numbers, and what is left of the quota
//   GET /api/v1/usage/summary    the numbers alone, in upstream's shape
//   GET /api/v1/usage/details    one record an execution, oldest first
//   GET /api/v1/limits           what is allowed, and what is left of this minute and month
//   GET /api/v1/audit            who did what, newest first
//
// Handlers never block: the store is asked on threads of its own. A summary may take seconds where
// an account has used much, so one is made at a time, and kept for a while.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

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
    std::size_t max_waiting_summaries = 100;
    std::chrono::milliseconds summary_life{30'000};
    std::size_t max_summaries = 1'000;  // kept
    Exec0RequestLimits request;         // for /limits
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    store::Store& store;
    Admission& admission;
    const Clock& clock;
  };

  Exec0Account(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // Drops what waits; to be called before the store goes away.
  void Close() {
    summaries_.Close();
    calls_.Close();
  }

 private:
  using Handler = void (Exec0Account::*)(http::Call& call, const KeyIdentity& identity);

  void Route(http::Server& server, const char* path, Right right, Handler handler);

  void Usage(http::Call& call, const KeyIdentity& identity);
  void Summary(http::Call& call, const KeyIdentity& identity);
  void Details(http::Call& call, const KeyIdentity& identity);
  void Limits(http::Call& call, const KeyIdentity& identity);
  void Audit(http::Call& call, const KeyIdentity& identity);

  struct Summarized {
    store::UsageSummary summary;
    std::int64_t start_unix_ms = 0;
    std::int64_t end_unix_ms = 0;
  };
  using SummarizedPtr = std::shared_ptr<const Summarized>;  // the cache and answers under way
  using SummaryKey = std::pair<schema::OwnerId, std::chrono::milliseconds>;

  // What the owner used in the last `period`, perhaps as it was a while ago.
  void WithSummary(http::Call& call, const schema::OwnerId& owner, std::chrono::milliseconds period,
                   std::function<void(http::Reply&, const Summarized&)> work);
  // Null: none, or too old.
  SummarizedPtr FindSummary(const SummaryKey& key);
  Result<SummarizedPtr> Summarize(const SummaryKey& key);

  // `work` on a thread of ours, with the reply to answer.
  void Later(http::Call& call, std::function<void(http::Reply&)> work);

  const Options options_;
  const Parts parts_;
  std::mutex mutex_;
  std::map<SummaryKey, SummarizedPtr> known_;  // guarded by mutex_
  CallPool calls_;
  CallPool summaries_;  // of one thread
};

}  // namespace forkbox::api
