#include "queue/message_json.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "schema/json.h"
#include "schema/utf8.h"

namespace forkbox::queue {
namespace {

using Json = nlohmann::json;
using schema::ExecutionId;
using schema::OwnerId;

// The year 9999: differences of such times cannot overflow.
constexpr std::int64_t kMaxUnixMs = 253'402'300'799'999;

// A value of JSON takes two bytes at least, so these never refuse what the size lets through.
constexpr schema::JsonLimits kMessageLimits{
    .max_depth = 16, .max_values = kMaxMessageBytes / 2, .max_bytes = kMaxMessageBytes};
constexpr schema::JsonLimits kReplyLimits{
    .max_depth = 8, .max_values = 20'000, .max_bytes = kMaxReplyBytes};
constexpr schema::JsonLimits kWatchLimits{.max_depth = 4, .max_values = 50, .max_bytes = 4U << 10};

constexpr std::size_t kMaxAddressBytes = 255;
constexpr std::size_t kMaxStateBytes = 32;
constexpr std::size_t kMaxPieces = 4'096;
// More text than any outcome has.
constexpr std::int64_t kMaxOffset = std::int64_t{1} << 40;

tl::unexpected<Error> Refuse(std::string why) {
  return Fail(ErrorCode::kInvalidArgument, std::move(why));
}

bool IsOwner(std::string_view text) {
  return text.size() <= kMaxOwnerBytes && schema::IsValidUtf8(text);
}

bool IsTime(std::int64_t unix_ms) { return unix_ms >= 0 && unix_ms <= kMaxUnixMs; }

// Null when it is missing or of another type.
const std::string* FindString(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                     : nullptr;
}

std::optional<std::int64_t> FindInteger(const Json& object, const char* name) {
  const auto found = object.find(name);
  // One beyond 63 bits comes out negative, and nothing here may be negative.
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

Result<Json> ParseVersioned(std::string_view text, const schema::JsonLimits& limits) {
  Result<Json> json = schema::ParseJson(text, limits);
  if (!json) return json;
  if (!json->is_object()) return Refuse("must be an object");
  if (FindInteger(*json, "version") != kMessageVersion) return Refuse("version: not one of ours");
  return json;
}

Result<ExecutionId> ReadId(const Json& json) {
  const std::string* const id = FindString(json, "id");
  if (id == nullptr || !IsExecutionId(*id)) return Refuse("id: not an id");
  return ExecutionId(*id);
}

Result<std::int64_t> ReadTime(const Json& json, const char* name) {
  const std::optional<std::int64_t> unix_ms = FindInteger(json, name);
  if (!unix_ms || !IsTime(*unix_ms)) return Refuse(std::string(name) + ": not a time");
  return *unix_ms;
}

}  // namespace

bool IsExecutionId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
         });
}

Result<std::string> EncodeMessage(const Message& message) {
  if (!IsExecutionId(message.id.str())) return Refuse("id: not an id");
  if (!IsOwner(message.owner.str())) return Refuse("owner: too long, or not text");
  if (!IsTime(message.enqueued_unix_ms) || !IsTime(message.dispatched_unix_ms) ||
      !IsTime(message.waits_since_unix_ms)) {
    return Refuse("a time before 1970 or after 9999");
  }
  Json json = {{"version", kMessageVersion},
               {"id", message.id.str()},
               {"owner", message.owner.str()},
               {"lane", ToString(message.lane)},
               {"enqueued_unix_ms", message.enqueued_unix_ms},
               {"dispatched_unix_ms", message.dispatched_unix_ms}};
  if (message.waits_since_unix_ms != 0) json["waits_since_unix_ms"] = message.waits_since_unix_ms;
  std::string text = schema::DumpJson(json);
  if (message.execution != nullptr) {
    const std::string execution = schema::DumpJson(ToJson(*message.execution));
    if (execution.size() <= kMaxInlineExecutionBytes) {
      text.pop_back();  // the object's end
      text += ",\"execution\":" + execution + "}";
    }
  }
  return text;
}

Result<Message> DecodeMessage(std::string_view text, schema::Priority lane) {
  Result<Json> json = ParseVersioned(text, kMessageLimits);
  if (!json) return Fail(json.error());
  Result<ExecutionId> id = ReadId(*json);
  if (!id) return Fail(id.error());
  const std::string* const owner = FindString(*json, "owner");
  if (owner == nullptr || !IsOwner(*owner)) return Refuse("owner: missing, or too long");
  const std::string* const word = FindString(*json, "lane");
  if (word == nullptr || schema::ParsePriority(*word) != lane) {
    return Refuse("lane: not that of the queue");
  }
  const Result<std::int64_t> enqueued = ReadTime(*json, "enqueued_unix_ms");
  if (!enqueued) return Fail(enqueued.error());
  const Result<std::int64_t> dispatched = ReadTime(*json, "dispatched_unix_ms");
  if (!dispatched) return Fail(dispatched.error());
  Result<std::int64_t> waits_since = 0;
  if (json->contains("waits_since_unix_ms")) waits_since = ReadTime(*json, "waits_since_unix_ms");
  if (!waits_since) return Fail(waits_since.error());

  Message message{.id = std::move(*id),
                  .owner = OwnerId(*owner),
                  .lane = lane,
                  .enqueued_unix_ms = *enqueued,
                  .dispatched_unix_ms = *dispatched,
                  .waits_since_unix_ms = *waits_since,
                  .execution = nullptr};
  if (const auto found = json->find("execution"); found != json->end() && !found->is_null()) {
    Result<schema::Execution> execution = schema::ExecutionFromJson(*found);
    if (!execution) return Refuse("execution: " + execution.error().message);
    if (execution->id != message.id || execution->owner != message.owner ||
        execution->priority != lane) {
      return Refuse("execution: not the one around it");
    }
    message.execution = std::make_shared<const schema::Execution>(std::move(*execution));
  }
  return message;
}

Result<std::string> EncodeReply(const Reply& reply) {
  if (!IsExecutionId(reply.id.str())) return Refuse("id: not an id");
  std::string text = schema::DumpJson(
      {{"version", kMessageVersion}, {"id", reply.id.str()}, {"outcome", ToJson(reply.outcome)}});
  if (text.size() > kMaxReplyBytes) return Refuse("outcome: too large for a message");
  return text;
}

namespace {

Result<Reply> ReadReply(ExecutionId id, const Json& json) {
  const auto found = json.find("outcome");
  if (found == json.end()) return Refuse("outcome: is required");
  Result<schema::Outcome> outcome = schema::OutcomeFromJson(*found);
  if (!outcome) return Refuse("outcome: " + outcome.error().message);
  return Reply{.id = std::move(id), .to = "", .outcome = std::move(*outcome)};
}

// Null when it is missing, of another type or longer.
const std::string* FindShort(const Json& object, const char* name, std::size_t most) {
  const std::string* const text = FindString(object, name);
  return text != nullptr && text->size() <= most ? text : nullptr;
}

std::optional<std::uint64_t> FindOffset(const Json& object, const char* name) {
  const std::optional<std::int64_t> offset = FindInteger(object, name);
  if (!offset || *offset < 0 || *offset > kMaxOffset) return std::nullopt;
  return static_cast<std::uint64_t>(*offset);
}

bool FindFlag(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

bool IsOffset(std::uint64_t offset) { return offset <= static_cast<std::uint64_t>(kMaxOffset); }

Result<Progress> ReadProgress(ExecutionId id, const Json& json) {
  if (!json.is_object()) return Refuse("progress: must be an object");
  const std::string* const run = FindShort(json, "run", kMaxIdBytes);
  const std::string* const state = FindShort(json, "state", kMaxStateBytes);
  const auto pieces = json.find("pieces");
  if (run == nullptr) return Refuse("progress.run: not an id");
  if (state == nullptr) return Refuse("progress.state: not a word");
  if (pieces == json.end() || !pieces->is_array() || pieces->size() > kMaxPieces) {
    return Refuse("progress.pieces: must be a short array");
  }
  Progress progress{.id = std::move(id),
                    .to = "",
                    .run = *run,
                    .state = *state,
                    .pieces = {},
                    .caught_up = FindFlag(json, "caught_up"),
                    .finished = FindFlag(json, "finished")};
  for (const Json& piece : *pieces) {
    if (!piece.is_object()) return Refuse("progress.pieces: must hold objects");
    const std::string* const stream = FindString(piece, "stream");
    const auto at = FindOffset(piece, "at");
    const std::string* const text = FindString(piece, "text");
    if (stream == nullptr || (*stream != "stdout" && *stream != "stderr") || !at ||
        text == nullptr) {
      return Refuse("progress.pieces: a piece has a stream, a place and a text");
    }
    progress.pieces.push_back({.is_stderr = *stream == "stderr", .at = *at, .text = *text});
  }
  return progress;
}

}  // namespace

Result<Reply> DecodeReply(std::string_view text) {
  Result<Json> json = ParseVersioned(text, kReplyLimits);
  if (!json) return Fail(json.error());
  Result<ExecutionId> id = ReadId(*json);
  if (!id) return Fail(id.error());
  return ReadReply(std::move(*id), *json);
}

Result<std::string> EncodeProgress(const Progress& progress) {
  if (!IsExecutionId(progress.id.str())) return Refuse("id: not an id");
  if (progress.run.size() > kMaxIdBytes || progress.state.size() > kMaxStateBytes ||
      progress.pieces.size() > kMaxPieces) {
    return Refuse("progress: too large for a message");
  }
  Json pieces = Json::array();
  std::size_t bytes = 0;
  for (const ProgressPiece& piece : progress.pieces) {
    if (!IsOffset(piece.at)) return Refuse("progress: too far");
    bytes += piece.text.size();
    pieces.push_back({{"stream", piece.is_stderr ? "stderr" : "stdout"},
                      {"at", piece.at},
                      {"text", piece.text}});
  }
  if (bytes > kMaxProgressText) return Refuse("progress: too large for a message");
  return schema::DumpJson({{"version", kMessageVersion},
                           {"id", progress.id.str()},
                           {"progress",
                            {{"run", progress.run},
                             {"state", progress.state},
                             {"pieces", std::move(pieces)},
                             {"caught_up", progress.caught_up},
                             {"finished", progress.finished}}}});
}

Result<ReplyOrProgress> DecodeReplyOrProgress(std::string_view text) {
  Result<Json> json = ParseVersioned(text, kReplyLimits);
  if (!json) return Fail(json.error());
  Result<ExecutionId> id = ReadId(*json);
  if (!id) return Fail(id.error());
  if (const auto found = json->find("progress"); found != json->end()) {
    Result<Progress> progress = ReadProgress(std::move(*id), *found);
    if (!progress) return Fail(progress.error());
    return ReplyOrProgress(std::move(*progress));
  }
  Result<Reply> reply = ReadReply(std::move(*id), *json);
  if (!reply) return Fail(reply.error());
  return ReplyOrProgress(std::move(*reply));
}

Result<std::string> EncodeWatch(const Watch& watch) {
  if (!IsExecutionId(watch.id.str())) return Refuse("id: not an id");
  if (watch.to.size() > kMaxAddressBytes || watch.run.size() > kMaxIdBytes ||
      !IsOffset(watch.stdout_from) || !IsOffset(watch.stderr_from)) {
    return Refuse("watch: too large for a message");
  }
  return schema::DumpJson({{"version", kMessageVersion},
                           {"id", watch.id.str()},
                           {"watch",
                            {{"to", watch.to},
                             {"run", watch.run},
                             {"stdout_from", watch.stdout_from},
                             {"stderr_from", watch.stderr_from},
                             {"stop", watch.stop}}}});
}

Result<Watch> DecodeWatch(std::string_view text) {
  Result<Json> json = ParseVersioned(text, kWatchLimits);
  if (!json) return Fail(json.error());
  Result<ExecutionId> id = ReadId(*json);
  if (!id) return Fail(id.error());
  const auto found = json->find("watch");
  if (found == json->end() || !found->is_object()) return Refuse("watch: must be an object");
  const std::string* const to = FindShort(*found, "to", kMaxAddressBytes);
  const std::string* const run = FindShort(*found, "run", kMaxIdBytes);
  const auto stdout_from = FindOffset(*found, "stdout_from");
  const auto stderr_from = FindOffset(*found, "stderr_from");
  if (to == nullptr || run == nullptr || !stdout_from || !stderr_from) {
    return Refuse("watch: names who asks, the run, and where");
  }
  return Watch{.id = std::move(*id),
               .to = *to,
               .run = *run,
               .stdout_from = *stdout_from,
               .stderr_from = *stderr_from,
               .stop = FindFlag(*found, "stop")};
}

}  // namespace forkbox::queue
