// Server: HTTP/1.1 over TCP, with bounds on everything a client can make it do.
//
//   Server server({.port = 8080, .threads = 2, .log = log});
//   server.Route(Method::kGet, "/things/:id", [&](Call& call) {
//     call.reply.Send(200, "application/json", things.Find(call.Param(":id")));
//   });
//   Result<void> started = server.Start();
//   ...
//   server.Drain(10s);
//   server.Stop();
//
// Handlers run on the server's few threads, several at once, and must not block: work that takes
// time copies call.reply and answers from elsewhere. A pipelined request may run its handler in the
// thread that finished the reply before it. What a handler throws becomes a 500 that does not say
// what was thrown.
//
// What the server answers by itself (framing errors, limits, 404, 405, 500) has the body
// {"error":"<clear text>"} as application/json, unless Options::error_body shapes it.
//
// Start() ignores SIGPIPE for the whole process, since sendfile(2) cannot be told to. Raising
// RLIMIT_NOFILE is the caller's business, before Start(): see Limits::max_connections; at EMFILE
// the accepting thread would spin. The server's threads inherit the signal mask of the thread that
// calls Start(). A client that closes its sending half counts as gone, unless its connection is
// taken. TLS, HTTP/2 and limits per client address are the proxy's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/call.h"
#include "api/http/limits.h"
#include "api/http/method.h"
#include "base/log.h"
#include "base/result.h"

namespace forkbox::http {

// What the server is about to answer by itself.
struct OwnAnswer {
  int status = 500;
  std::string_view message;  // clear text, safe to show
  std::string_view method;   // empty when the request could not be read
  std::string_view path;     // likewise; not decoded, without the query
};
struct AnswerBody {
  std::string content_type;
  std::string body;
};

// One finished request, for metrics.
struct RequestRecord {
  std::string_view method;               // empty when the request could not be read
  std::string_view route;                // the path as registered; empty when no route took it
  int status = 0;                        // kStatusClientGone when the client left before the answer
  std::chrono::nanoseconds duration{0};  // from the complete request to the end of the answer
  std::size_t body_bytes = 0;            // of the answer
};
inline constexpr int kStatusClientGone = 499;  // seen in logs and metrics, never on the wire

using Handler = std::function<void(Call&)>;

// Thread-safe where said so; the rest belongs to the thread that owns it.
class Server {
 public:
  struct Options {
    std::string address = "127.0.0.1";  // a literal: "0.0.0.0", "::1" or "[::1]"
    std::uint16_t port = 0;             // 0 takes any free one
    int threads = 2;
    int listen_backlog = 4096;
    Limits limits = {};
    Log log = Log::Null();  // one `http.request` a request; no bodies, no queries

    // What stands in front of the routes: gets each with its handler, and returns what to call in
    // its place. Null: nothing.
    std::function<Handler(const std::string& path, Handler handler)> before_handler = nullptr;

    // All of these run on server threads and on those that finish replies: thread-safe, short.
    // What they throw is caught; the defaults then apply.

    // The body limit for one request, known before the body is read. Null: max_body_bytes.
    std::function<std::size_t(Method method, std::string_view target, const Fields& fields)>
        body_limit = nullptr;
    // The body of what the server answers by itself. Null: {"error":"<message>"}.
    std::function<AnswerBody(const OwnAnswer&)> error_body = nullptr;
    // Called once a request, when its answer is complete or its client has left. It must not use
    // the Reply.
    std::function<void(const RequestRecord&)> on_request = nullptr;
  };
  struct Stats {
    std::size_t connections = 0;
    std::size_t requests_in_flight = 0;  // handed to a handler and not yet answered
    std::size_t body_bytes = 0;          // of request bodies held in memory
  };

  explicit Server(Options options);
  ~Server();  // Stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before Start(). In `path`, ":name" stands for exactly one segment and "*" for one without a
  // name; empty segments do not count. A fixed segment beats ":name", which beats "*". HEAD falls
  // back to the route of GET. A known path asked with another method is answered 405 with Allow.
  // A second route of the same method and path is a broken invariant.
  void Route(Method method, const std::string& path, Handler handler);

  // Before Start(). Everything at and below `prefix` ("/v1/sandboxes/:id/proxy/:port", or "/"), by
  // any method, that no Route() takes; the longest prefix wins, and of two as long the one with a
  // fixed segment first. call.tail is what stands below it, not decoded, "" or with its leading
  // slash. A second tree of the same prefix is a broken invariant.
  //
  // When `takes_over` (null: never) says so, once the head is read, the connection is the
  // handler's: call.taken is there, call.body is empty and call.reply answers nobody. The handler
  // still runs on one of the server's threads: it gives call.taken to a thread of its own and
  // returns.
  using TakesOver = std::function<bool(Method method, std::string_view tail, const Fields& fields)>;
  struct TreeOptions {
    TakesOver takes_over = nullptr;
    // Decoded bytes of one body read from a taken connection; Options::body_limit is not asked.
    std::uint64_t max_taken_body_bytes = 16ULL << 30;
  };
  void Tree(const std::string& prefix, Handler handler, TakesOver takes_over = nullptr);
  void Tree(const std::string& prefix, Handler handler, TreeOptions options);

  struct RouteName {
    Method method = Method::kGet;
    std::string path;  // as registered
  };
  // All of Route(), in the order they came.
  [[nodiscard]] const std::vector<RouteName>& routes() const;

  // Listens and serves. kInvalidArgument: no such address. kUnavailable: the port is taken.
  // kInternal: no threads or descriptors. At most once, whatever it returns.
  Result<void> Start();

  // The one listened on, after Start().
  [[nodiscard]] std::uint16_t port() const;

  // Takes no more clients, closes idle ones, and waits until every reply in flight is out, at most
  // `timeout`. Returns how many connections were still busy. Thread-safe.
  std::size_t Drain(std::chrono::milliseconds timeout);

  // Cuts what is left and joins all threads. After it no handler runs, and Replies still held
  // elsewhere return false. Not from a handler.
  void Stop();

  [[nodiscard]] Stats stats() const;  // thread-safe

 private:
  class Impl;  // keeps Pistache out of this header
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::http
