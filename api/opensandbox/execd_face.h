// ExecdFace: OpenSandbox's execd API (reference 1-11) over Daemons: one at the root of a server, or
// many below a path each.
//
// Handlers return at once: what may block goes to threads of its own, one for each request that
// runs, at most Options::max_threads, beyond: 503; and at most Options::max_running of one box,
// beyond: 429.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/http/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/daemon.h"

namespace forkbox::api {

class ExecdFace {
 public:
  struct Options {
    std::size_t max_threads = 512;
    // Requests of one box that run at once, so that none takes the threads of all. A few more that
    // end something (DELETE) are let in.
    std::size_t max_running = 48;
    std::size_t max_body_bytes = 8U << 20;  // of everything but uploads
  };
  ExecdFace(Options options, const Clock& clock, Log log);
  // Waits for what runs; the servers that call it must have stopped.
  ~ExecdFace();
  ExecdFace(const ExecdFace&) = delete;
  ExecdFace& operator=(const ExecdFace&) = delete;

  // Answers a request for one box. `path` is what stands below its mount: "/command". The caller
  // has checked the token. Thread-safe.
  void Serve(http::Call& call, std::string_view path, std::shared_ptr<execd::Daemon> daemon);

  // Ends the streams that have no end of their own, terminals and watched metrics, now and from now
  // on: for a server that waits until its requests are over. Does not block. Thread-safe.
  void EndStreams();

  // What Serve() wants to have as a taken connection: uploads that are long or of unknown length,
  // WebSockets, what is handed on to a port. Thread-safe.
  static bool TakesOver(http::Method method, std::string_view path, const http::Fields& fields);

  // The 401 of 1.2. Token comparison takes the same time for all wrong tokens.
  static bool TokenMatches(const http::Fields& fields, std::string_view token);
  static void Refuse401(http::Call& call);
  // What a server with nothing but execd on it says by itself (Server::Options::error_body).
  static http::AnswerBody OwnError(const http::OwnAnswer& answer);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::api
