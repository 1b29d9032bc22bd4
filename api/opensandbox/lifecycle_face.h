// LifecycleFace: OpenSandbox's lifecycle API (reference 14), each route with and without /v1:
//
//   POST   /sandboxes                             GET /sandboxes, GET /sandboxes/{id}
//   DELETE /sandboxes/{id}                        PATCH /sandboxes/{id}/metadata
//   POST   /sandboxes/{id}/pause, resume, renew-expiration
//   GET    /sandboxes/{id}/endpoints/{port}       where to reach it, with its token
//   ANY    /sandboxes/{id}/proxy/{port}/…         that place, see sandbox_proxy.h
//   GET    /sandboxes/{id}/diagnostics/…          inspect and summary
//   POST   /sandboxes/{id}/fork                   ours: a new one with a copy of the files
//   snapshots, pools                              there are none
//
// Keys are those of the project, by OPEN-SANDBOX-API-KEY, x-api-key or Authorization. With keys, a
// sandbox is its account's: for others there is no such thing. To create and to change takes the
// right to execute, to look the right to read executions.
//
// Handlers never block: store and fleet are asked on threads of its own.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "api/auth/admission.h"
#include "api/call_pool.h"
#include "api/http/server.h"
#include "api/opensandbox/lifecycle_problem.h"
#include "api/opensandbox/lifecycle_request.h"
#include "api/opensandbox/sandbox_fleet.h"
#include "base/clock.h"
#include "base/log.h"
#include "schema/request_schema.h"
#include "store/sandbox_store.h"

namespace forkbox::api {

class LifecycleFace {
 public:
  struct Options {
    std::size_t threads = 16;
    std::size_t fork_threads = 4;  // forks take as long as a box likes: none waits behind them
    std::size_t max_waiting_calls = 1'000;
    SandboxBounds bounds = {};
    std::size_t max_per_account = 20;  // live at once; with keys
    // "host:port" that endpoints are given out with; "": what the request's Host says.
    std::string endpoint = {};
    bool server_proxy = false;  // endpoints are always at this server
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    SandboxFleet& fleet;
    store::SandboxStore& store;
    Admission& admission;
    const Clock& clock;
    Log log;
  };

  // kInternal when the program was built without its request schemas.
  static Result<std::unique_ptr<LifecycleFace>> Create(Options options, Parts parts);

  void RegisterOn(http::Server& server);

  // For http::Server::Options; 0 for paths that are not ours.
  std::size_t BodyLimit(std::string_view path, const http::Fields& fields);
  static std::optional<http::AnswerBody> ErrorBody(const http::OwnAnswer& answer);
  // Paths whose key, if there is one, is not for us.
  static bool IsOpen(std::string_view path);

  void EndStreams() { parts_.fleet.EndStreams(); }
  // Drops what waits; to be called before the store goes away.
  void Close();

 private:
  struct Schemas {
    schema::RequestSchema create;
    schema::RequestSchema renew;
    schema::RequestSchema metadata;
  };
  // A call that was let in, on a thread of ours.
  struct Asked {
    http::Call call;
    KeyIdentity identity;
    std::shared_ptr<void> turn = {};  // of its account, while it is held
  };
  using Work = void (LifecycleFace::*)(Asked& asked);
  using Start = std::function<void(std::shared_ptr<Asked> asked)>;  // does not block

  LifecycleFace(Options options, Parts parts, Schemas schemas);

  void Route(http::Server& server, http::Method method, const std::string& path, Right right,
             Work work);
  // The same, of what is let in.
  void RouteTo(http::Server& server, http::Method method, const std::string& path, Right right,
               Start start);
  void Post(CallPool& pool, const http::Reply& reply, std::function<void()> call);

  void StartFork(std::shared_ptr<Asked> asked);
  void CreateOne(Asked& asked);
  void List(Asked& asked);
  void Get(Asked& asked);
  void Delete(Asked& asked);
  void PatchMetadata(Asked& asked);
  void Pause(Asked& asked);
  void Resume(Asked& asked);
  void Renew(Asked& asked);
  void Endpoint(Asked& asked);
  void Diagnostics(Asked& asked);
  void Fork(Asked& asked);
  void NoSnapshot(Asked& asked);
  void ListSnapshots(Asked& asked);
  void FindSnapshot(Asked& asked);
  void NoPools(Asked& asked);

  // The row, if it is the asker's and has not ended; else the call is answered.
  std::optional<store::SandboxRecord> Find(Asked& asked);
  // A place among the account's sandboxes until it is destroyed; else the call is answered.
  class Place {
   public:
    Place(LifecycleFace& face, std::string owner) : face_(face), owner_(std::move(owner)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place();

   private:
    LifecycleFace& face_;
    const std::string owner_;
  };
  std::unique_ptr<Place> TakePlace(Asked& asked);
  void Finish(Asked& asked, const Result<void>& result, std::string_view what, int status);

  const Options options_;
  const Parts parts_;
  const Schemas schemas_;
  std::mutex mutex_;
  std::map<std::string, std::size_t> pending_;  // by mutex_; creates under way, by account
  std::set<std::string> forking_;               // by mutex_; accounts that have a fork under way
  CallPool calls_;                              // these two last: their calls use all of the above
  CallPool forks_;
};

}  // namespace forkbox::api
