// ApiServer: the HTTP server with every dialect on it.
//
//   ApiServer server(options, parts);
//   Result<void> started = server.Start();   // refuses to be open to the world without keys
//   ...
//   server.Drain(30s);                       // takes nothing new, lets replies go out
//   server.Stop();
//
// One thread starts, drains and stops it; the rest is the server's own business.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/auth/admission.h"
#include "api/auth/key_ring.h"
#include "api/docs.h"
#include "api/event_stream.h"
#include "api/exec0.h"
#include "api/exec0_account.h"
#include "api/exec0_keys.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "api/isolation_choice.h"
#include "api/language_catalog.h"
#include "api/metrics.h"
#include "api/native_api.h"
#include "api/nca.h"
#include "api/opensandbox/lifecycle_face.h"
#include "api/store_probe.h"
#include "api/zeroboot.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "queue/broker.h"
#include "runner/sandbox/driver.h"
#include "store/store.h"
#include "webhook/address_guard.h"

namespace forkbox::api {

class ApiServer {
 public:
  struct Options {
    http::Server::Options http;     // address, port, threads, limits; log and hooks are set here
    bool insecure_no_auth = false;  // without keys, may listen beyond loopback all the same
    KeyRing::Options keys;
    Admission::Options admission;
    ZerobootDialect::Options zeroboot;
    // Of whatever does not say; dialects without a word for it have no other.
    IsolationChoice isolation = IsolationChoice::kProcess;
    // The least that anything may run in: kVm goes before `isolation`, and before a client's word.
    schema::Isolation isolation_floor = schema::Isolation::kProcess;
    // The most of each output stream any execution keeps.
    std::size_t max_output_bytes = 1 << 20;
    NativeApi::Options native;
    EventStream::Options events;
    Exec0Keys::Options exec0_keys;
    Exec0Account::Options exec0_account;
    NcaDialect::Options nca;
    Exec0Dialect::Options exec0;
    StoreProbe::Options store_probe;
    LifecycleFace::Options lifecycle;
    std::shared_ptr<const DocsBundle> docs;  // null: the page shows links only
  };
  // All references must outlive it. `service` must be destroyed after it.
  struct Parts {
    ExecutionService& service;
    store::Store& store;
    queue::Broker& broker;
    const Authenticator& authenticator;  // beside the keys of the store
    Metrics& metrics;
    const Clock& clock;
    const webhook::AddressGuard& address_guard;
    LanguageCatalog::Provider languages;  // null when the runners are elsewhere: those alive say
    std::function<sandbox::DriverStats()> pool_stats;  // null when the runners are elsewhere
    Log log;
    SandboxFleet* sandboxes = nullptr;  // null: this server has no lifecycle API
    // Of the virtual machines here; like `languages`, those of the runners alive when that is null.
    LanguageCatalog::VmProvider vm = {};
  };

  ApiServer(Options options, Parts parts);
  ~ApiServer();  // Stop()
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // What the store failed with when its keys cannot be read.
  // kInvalidArgument: no keys and an address that others can reach, unless insecure_no_auth; or no
  // such address. kUnavailable: the port is taken. At most once.
  Result<void> Start();

  // Whether keys are asked for, see KeyRing::enabled().
  [[nodiscard]] bool authenticates() const { return keys_.enabled(); }

  [[nodiscard]] std::uint16_t port() const;  // the one listened on, after Start()
  [[nodiscard]] std::vector<http::Server::RouteName> routes() const;  // after Start()

  [[nodiscard]] const EventHub& events() const { return events_->hub(); }  // after Start()

  // Takes no more clients, ends the streams of events, and waits until every reply in flight is
  // out, at most `timeout`. Returns how many connections were still busy.
  std::size_t Drain(std::chrono::milliseconds timeout);

  // Cuts what is left and joins all threads.
  void Stop();

 private:
  void ServeMetrics(http::Call& call);

  Options options_;
  Parts parts_;
  const SteadyTime started_at_;
  LanguageCatalog languages_;
  KeyRing keys_;
  Admission admission_;
  // Made by Start():
  std::unique_ptr<StoreProbe> store_probe_;
  std::unique_ptr<ZerobootDialect> zeroboot_;
  std::unique_ptr<NativeApi> native_;
  std::unique_ptr<EventStream> events_;
  std::unique_ptr<Exec0Keys> exec0_keys_;
  std::unique_ptr<Exec0Account> exec0_account_;
  std::unique_ptr<NcaDialect> nca_;
  std::unique_ptr<Exec0Dialect> exec0_;
  std::unique_ptr<LifecycleFace> lifecycle_;  // null when there is no fleet
  std::unique_ptr<Docs> docs_;
  std::unique_ptr<http::Server> server_;  // last: its handlers use all of the above
};

}  // namespace forkbox::api
