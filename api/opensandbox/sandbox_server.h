// SandboxServer: the HTTP server of a runner that has sandboxes for a cluster: clients use them by
// it (sandbox_proxy.h), API processes have them made and changed (sandbox_wire.h).
//
// One thread starts, drains and stops it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "api/call_pool.h"
#include "api/http/server.h"
#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/sandbox_proxy.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/sandboxes/sandbox_host.h"

namespace forkbox::api {

class SandboxServer {
 public:
  struct Options {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;
    int threads = 2;
    std::size_t max_connections = 1'000;
    std::string control_token;        // not empty
    std::size_t control_threads = 8;  // calls of API processes at once
    std::size_t fork_threads = 4;     // that copy files, which takes as long as a box likes
  };
  // The host and the clock must outlive it.
  SandboxServer(Options options, sandboxes::SandboxHost& host, const Clock& clock, Log log);
  ~SandboxServer();  // Stop()
  SandboxServer(const SandboxServer&) = delete;
  SandboxServer& operator=(const SandboxServer&) = delete;

  Result<void> Start();  // as http::Server
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  // As http::Server; streams that have no end of their own are ended.
  std::size_t Drain(std::chrono::milliseconds timeout) {
    if (face_) face_->EndStreams();
    return server_->Drain(timeout);
  }
  void Stop();

 private:
  // What to answer.
  using Work = std::function<Result<std::string>(const std::string& id, const std::string& body)>;

  void Control(CallPool& pool, http::Method method, const std::string& path, int status, Work work);

  const Options options_;
  sandboxes::SandboxHost& host_;
  std::unique_ptr<ExecdFace> face_;
  SandboxProxy proxy_;
  CallPool calls_;
  CallPool forks_;
  std::unique_ptr<http::Server> server_;  // last: its handlers use all of the above
};

}  // namespace forkbox::api
