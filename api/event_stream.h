// What can be done with an execution while it goes on:
//
//   GET    /api/v1/executions/{id}/events, /executions/{id}/events   Server-Sent Events, from the
//          start or after Last-Event-ID, live or not, from any API process (event_writer.h)
//   DELETE /api/v1/executions/{id}, /executions/{id}                 cancels it
//
//   GET     200 text/event-stream · 204 to who has had all of it: a browser's EventSource stops
//   then
//           · 400 a Last-Event-ID that is none of ours · 404 · 429, 503 too many streams
//   DELETE  200 cancelled · 202 asked for and not ended within some seconds, both with the
//   execution
//           · 404 · 409 it had ended already, or ended otherwise meanwhile; details.state says how
//
// Errors have Exec0's body (exec0_error.h). Thread-safe; handlers do not block.
#pragma once

#include <string>

#include "api/auth/admission.h"
#include "api/cancellation.h"
#include "api/event_hub.h"
#include "api/execution_service.h"
#include "api/http/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "store/execution_store.h"

namespace forkbox::api {

class EventStream {
 public:
  struct Options {
    EventHub::Options hub;
    Cancellation::Options cancellation;
  };
  // All must outlive it, and it the server it is registered with.
  struct Parts {
    ExecutionService& service;
    store::ExecutionStore& store;
    queue::Broker& broker;
    Admission& admission;
    const Clock& clock;
    Log log;
  };

  EventStream(Options options, const Parts& parts);

  void RegisterOn(http::Server& server);

  // Ends every stream, so that its client comes back elsewhere, and takes no more. For a server
  // that drains: streams end with what they watch, which may be long.
  void EndStreams() { hub_.Close(); }
  // Answers what waits, too; to be called before the service goes away.
  void Close();

  [[nodiscard]] const EventHub& hub() const { return hub_; }

 private:
  void GetEvents(http::Call& call);
  void Delete(http::Call& call);

  const Parts parts_;
  EventHub hub_;
  Cancellation cancellation_;
};

}  // namespace forkbox::api
