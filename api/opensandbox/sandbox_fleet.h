// SandboxFleet: the sandboxes that an API process offers, wherever they are: on a host in the same
// process, or on runners of which the store tells.
//
// Rows are read from the store; what changes a sandbox is asked of whoever has it. Thread-safe.
// What is said to block needs a thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/http/server.h"
#include "base/result.h"
#include "runner/sandboxes/sandbox_host.h"
#include "store/sandbox_store.h"

namespace forkbox::api {

class SandboxFleet {
 public:
  virtual ~SandboxFleet() = default;

  // These block. kQueueFull: no room anywhere. kUnavailable: nobody to do it, or it failed.
  // kNotFound: it has ended. Else as SandboxHost has it.
  virtual Result<store::SandboxRecord> Create(sandboxes::SandboxSpec spec) = 0;
  // A new one like `source`, with a copy of its files; `spec` says all but environment and limits.
  virtual Result<store::SandboxRecord> Fork(const store::SandboxRecord& source,
                                            sandboxes::SandboxSpec spec) = 0;
  virtual Result<void> Delete(const store::SandboxRecord& record) = 0;
  virtual Result<void> Pause(const store::SandboxRecord& record) = 0;
  virtual Result<void> Resume(const store::SandboxRecord& record) = 0;
  virtual Result<void> Renew(const store::SandboxRecord& record, std::int64_t expires_unix_ms) = 0;

  // Clients can reach a sandbox at its record's address; else at this server only.
  [[nodiscard]] virtual bool reachable_elsewhere() const = 0;

  // Answers what is asked of a sandbox: a Tree at "…/sandboxes/:id/proxy". Does not block.
  virtual void Proxy(http::Call& call) = 0;
  virtual bool TakesOver(http::Method method, std::string_view tail,
                         const http::Fields& fields) = 0;
  // The most of a body that is not taken over, for that path below "/sandboxes/"; 0: as any other.
  virtual std::size_t BodyLimit(std::string_view path, const http::Fields& fields) = 0;

  // Ends streams that have no end of their own, as far as it knows of any: its servers wait for
  // what runs. Does not block.
  virtual void EndStreams() {}

  // What waits for somebody elsewhere, now and from now on, fails soon: kUnavailable. For a server
  // that is about to stop. Does not block.
  virtual void GiveUp() {}

  // Ends what it does for others; to be called when the servers that call it have stopped.
  virtual void Close() = 0;
};

}  // namespace forkbox::api
