#include "api/opensandbox/execd_stream.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace forkbox::api {
namespace {

using execd::Event;
using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kPatience{60};
// Well under Limits::max_backlog_bytes, beyond which the server cuts a stream.
constexpr std::size_t kBacklog = 512U << 10;
constexpr std::size_t kPiece = 256U << 10;

std::string_view TypeName(Event::Type type) {
  switch (type) {
    case Event::Type::kInit:
      return "init";
    case Event::Type::kStatus:
      return "status";
    case Event::Type::kError:
      return "error";
    case Event::Type::kStdout:
      return "stdout";
    case Event::Type::kStderr:
      return "stderr";
    case Event::Type::kResult:
      return "result";
    case Event::Type::kExecutionComplete:
      return "execution_complete";
    case Event::Type::kExecutionCount:
      return "execution_count";
    case Event::Type::kPing:
      return "ping";
  }
  return "error";
}

}  // namespace

std::string ExecdEventJson(const Event& event, std::int64_t unix_ms) {
  Json json{{"type", TypeName(event.type)}};
  if (!event.text.empty()) json["text"] = event.text;
  if (event.execution_count > 0) json["execution_count"] = event.execution_count;
  if (event.execution_time.count() > 0) json["execution_time"] = event.execution_time.count();
  json["timestamp"] = unix_ms;
  if (!event.results.empty()) json["results"] = event.results;
  if (event.type == Event::Type::kError) {
    // An array whatever happens: clients iterate it.
    json["error"] = Json{
        {"ename", event.ename}, {"evalue", event.evalue}, {"traceback", Json(event.traceback)}};
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ExecdStream::ExecdStream(http::Reply reply, const Clock& clock)
    : reply_(std::move(reply)), clock_(clock) {}

bool ExecdStream::Put(const Event& event) {
  if (gone_) return false;
  const bool output = event.type == Event::Type::kStdout || event.type == Event::Type::kStderr;
  if (output && event.text.empty()) return true;
  if (!started_) {
    started_ = true;
    gone_ = !reply_.Start(200, "text/event-stream", ExecdStreamFields());
    if (gone_) return false;
  }
  gone_ = !WriteAtItsPace(reply_, ExecdEventJson(event, clock_.UnixMillis()) + "\n\n");
  return !gone_;
}

void ExecdStream::End() {
  if (started_) reply_.End();
}

http::Fields ExecdStreamFields() {
  return {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
}

bool WriteAtItsPace(http::Reply& reply, std::string_view data) {
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, std::min(kPiece, data.size()));
    if (!reply.AwaitBacklog(kBacklog, kPatience) || !reply.Write(piece)) return false;
    data.remove_prefix(piece.size());
  }
  return true;
}

}  // namespace forkbox::api
