// ClusterFleet: sandboxes on the runners of a cluster.
//
// A new one goes to the runner with the most room. What a client asks of a sandbox at this server
// is handed on to its runner, whole connections at a time; mostly clients go there themselves.
// Nothing is kept here that another API process, or this one after a restart, would not find in the
// store.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/opensandbox/execd_threads.h"
#include "api/opensandbox/sandbox_fleet.h"
#include "base/clock.h"
#include "base/log.h"
#include "runner/runner_details.h"
#include "store/store.h"

namespace forkbox::api {

class ClusterFleet final : public SandboxFleet {
 public:
  struct Options {
    std::chrono::milliseconds runner_alive_for{10'000};  // after its last heartbeat
    std::chrono::milliseconds runner_lost_after{15'000};
    std::chrono::milliseconds call_timeout{30'000};
    std::chrono::milliseconds fork_timeout{90'000};
    std::chrono::milliseconds delete_timeout{5'000};  // of what nobody waits for any longer
    std::size_t max_proxied = 512;                    // connections handed on at once
    // Of these to one sandbox, so that none takes the threads of all: a few more than its runner
    // runs at once, which says so itself.
    std::size_t max_proxied_of_one = 64;
  };
  // All must outlive it. Sees to it by itself that rows tell the truth about sandboxes whose runner
  // is gone.
  ClusterFleet(Options options, store::Store& store, const Clock& clock, Log log);

  Result<store::SandboxRecord> Create(sandboxes::SandboxSpec spec) override;
  Result<store::SandboxRecord> Fork(const store::SandboxRecord& source,
                                    sandboxes::SandboxSpec spec) override;
  Result<void> Delete(const store::SandboxRecord& record) override;
  Result<void> Pause(const store::SandboxRecord& record) override;
  Result<void> Resume(const store::SandboxRecord& record) override;
  Result<void> Renew(const store::SandboxRecord& record, std::int64_t expires_unix_ms) override;
  [[nodiscard]] bool reachable_elsewhere() const override { return true; }
  void Proxy(http::Call& call) override;
  bool TakesOver(http::Method, std::string_view, const http::Fields&) override { return true; }
  std::size_t BodyLimit(std::string_view, const http::Fields&) override { return 0; }
  void GiveUp() override { given_up_ = true; }
  void Close() override;

 private:
  struct Runner {
    std::string id;
    runner::SandboxService service;
  };
  Result<std::vector<Runner>> Runners();
  Result<runner::SandboxService> ServiceOf(const store::SandboxRecord& record);
  Result<store::SandboxRecord> Read(const std::string& id);
  // `path` below kControlRoot.
  Result<std::string> Ask(const runner::SandboxService& service, const char* method,
                          const std::string& path, const std::string& body,
                          std::chrono::milliseconds timeout);
  // The record's runner is asked for `path` below the sandbox.
  Result<void> AskOf(const store::SandboxRecord& record, const char* method,
                     const std::string& path, const std::string& body);
  // The new one of that id, when its runner has answered to the wish for it. What nobody will be
  // told of is deleted.
  Result<store::SandboxRecord> Made(const runner::SandboxService& service, const std::string& id,
                                    const Result<std::string>& answer);
  // The row, as it was a moment ago.
  Result<std::optional<store::SandboxRecord>> Known(const std::string& id);
  void Serve(http::Call& call);  // in a thread of its own
  // One of those handed on to a sandbox, until it is destroyed.
  class Handed;
  std::unique_ptr<Handed> TakeHanded(const std::string& id);  // null: there are enough
  void Watch(const std::stop_token& stop);

  const Options options_;
  store::Store& store_;
  const Clock& clock_;
  const Log log_;
  std::mutex mutex_;
  struct KnownRow {
    std::optional<store::SandboxRecord> record;
    SteadyTime until;
  };
  std::map<std::string, KnownRow> known_;      // by mutex_
  std::map<std::string, std::size_t> handed_;  // by mutex_; how many now, by sandbox
  std::atomic<bool> given_up_ = false;
  std::unique_ptr<ExecdThreads> threads_;  // these two last: they use all of the above
  std::jthread watcher_;
};

}  // namespace forkbox::api
