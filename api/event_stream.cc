#include "api/event_stream.h"

#include <memory>
#include <optional>
#include <utility>

#include "api/event_position.h"
#include "api/exec0_error.h"
#include "api/execution_document.h"
#include "api/execution_id_text.h"

namespace forkbox::api {
namespace {

constexpr const char* kJsonType = "application/json";

// Everything `from` names has been sent: there is nothing more to come.
bool HasAll(const store::ExecutionRecord& record, const EventPosition& from) {
  EventPosition position = from;
  return record.outcome && from.phase() == EventPosition::Phase::kDone &&
         position.stdout_bytes() == record.outcome->stdout_text.size() &&
         position.stderr_bytes() == record.outcome->stderr_text.size() &&
         position.Resume(record.outcome->stdout_text, record.outcome->stderr_text);
}

}  // namespace

EventStream::EventStream(Options options, const Parts& parts)
    : parts_(parts),
      hub_(options.hub, parts.service, parts.broker, parts.log),
      cancellation_(options.cancellation, parts.service, parts.store, parts.broker, parts.clock,
                    parts.log) {}

void EventStream::Close() {
  hub_.Close();
  cancellation_.Close();
}

void EventStream::RegisterOn(http::Server& server) {
  for (const std::string path : {"/api/v1/executions/:id", "/executions/:id"}) {
    server.Route(http::Method::kGet, path + "/events",
                 [this](http::Call& call) { GetEvents(call); });
    server.Route(http::Method::kDelete, path, [this](http::Call& call) { Delete(call); });
  }
}

void EventStream::GetEvents(http::Call& call) {
  const auto identity =
      parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kReadExecutions);
  if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
  EventPosition from;
  if (const std::string* last = call.Header("Last-Event-ID"); last != nullptr && !last->empty()) {
    const std::optional<EventPosition> parsed = EventPosition::Parse(*last);
    if (!parsed) {
      return SendExec0Problem(
          call.reply, InvalidField("Last-Event-ID", "the id of an event of this stream",
                                   "a string of " + std::to_string(last->size()) + " bytes"));
    }
    from = *parsed;
  }
  parts_.service.Find(
      ToExecutionId(call.Param(":id")), identity->owner,
      [this, from, reply = call.reply](Result<store::ExecutionRecord> record) mutable {
        if (!record) return SendExec0Problem(reply, ToExec0Problem(record.error()));
        if (HasAll(*record, from)) {
          reply.Send(204, "", "", {{"Cache-Control", "no-store"}});
          return;
        }
        const auto refused = hub_.Open(*std::move(record), from, reply);
        if (!refused) return;
        SendExec0Problem(reply, {.status = refused->status,
                                 .message = refused->message,
                                 .headers = {{"Retry-After", "1"}}});
      });
}

void EventStream::Delete(http::Call& call) {
  const auto identity =
      parts_.admission.IdentifyAndMeter(call.fields, call.client_address, Right::kExecute);
  if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
  if (const auto shared = RefusalOfSharedKey(*identity, "cancel executions")) {
    return SendExec0Problem(call.reply, ToExec0Problem(*shared));
  }
  cancellation_.Cancel(ToExecutionId(call.Param(":id")), identity->owner,
                       [reply = call.reply](Result<Cancellation::Answer> answer) mutable {
                         if (!answer)
                           return SendExec0Problem(reply, ToExec0Problem(answer.error()));
                         const store::ExecutionRecord& record = answer->record;
                         if (answer->verdict == Cancellation::Verdict::kFinished) {
                           return SendExec0Problem(
                               reply, {.status = 409,
                                       .message = "the execution has ended already, as " +
                                                  std::string(ToString(record.state)),
                                       .details = {{"state", ToString(record.state)},
                                                   {"reason", ToString(record.outcome->reason)}}});
                         }
                         const bool ended = answer->verdict == Cancellation::Verdict::kCancelled;
                         reply.Send(ended ? 200 : 202, kJsonType, ExecutionDocument(record),
                                    {{"Cache-Control", "no-store"}});
                       });
}

}  // namespace forkbox::api
