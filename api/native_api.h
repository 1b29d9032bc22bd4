// The API that is nobody else's: the webhooks of an execution of any dialect, the queue and the
// health of the parts.
//
//   GET  /api/v1/executions/{id}/deliveries            its webhooks, every attempt
//   POST /api/v1/executions/{id}/deliveries            send the webhook once more
//   GET  /api/v1/webhook-secrets                       when the active ones were made
//   POST /api/v1/webhook-secrets                       a new one, shown once; the last stays a
//   while GET  /api/v1/queue, /api/v1/health
//
// Errors have the body {"error":"<code>","message":"…","details":{…}}. Thread-safe; handlers do not
// block: what has to ask the store does so on threads of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "api/auth/admission.h"
#include "api/call_pool.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "api/language_catalog.h"
#include "api/store_probe.h"
#include "base/clock.h"
#include "queue/broker.h"
#include "store/store.h"

namespace forkbox::api {

class NativeApi {
 public:
  struct Options {
    // How long the secret before a new one still signs, beside it.
    std::chrono::hours secret_overlap{24};
    std::size_t threads = 2;
    std::size_t max_waiting_calls = 1'000;
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    ExecutionService& service;
    store::Store& store;
    queue::Broker& broker;
    Admission& admission;
    const StoreProbe& probe;
    LanguageCatalog& languages;
    const Clock& clock;
    Log log;
  };

  NativeApi(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // What the server answers by itself on paths of this API. Null for others. `body_limit` is that
  // of the path in bytes, `without_key` that of those who have no key.
  static std::optional<http::AnswerBody> ErrorBody(const http::OwnAnswer& answer,
                                                   std::size_t body_limit, std::size_t without_key);

  // Drops what waits; to be called before the store goes away.
  void Close() { calls_.Close(); }

 private:
  using Handler = void (NativeApi::*)(http::Call& call, const schema::OwnerId& owner);

  void Route(http::Server& server, http::Method method, const char* path, Right right,
             Handler handler);

  void ListDeliveries(http::Call& call, const schema::OwnerId& owner);
  void Redeliver(http::Call& call, const schema::OwnerId& owner);
  void ListSecrets(http::Call& call, const schema::OwnerId& owner);
  void AddSecret(http::Call& call, const schema::OwnerId& owner);
  void Queue(http::Call& call, const schema::OwnerId& owner);
  void Health(http::Call& call);

  // `work` on a thread of ours, with the reply to answer.
  void Later(http::Call& call, std::function<void(http::Reply&)> work);

  const Options options_;
  const Parts parts_;
  CallPool calls_;
};

}  // namespace forkbox::api
