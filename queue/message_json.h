// The JSON that travels through a broker outside this process.
//
//   {"version":1,"id":…,"owner":…,"lane":"interactive","enqueued_unix_ms":…,
//    "dispatched_unix_ms":…,"execution":{…}}            a Message; no execution: read the store
//   {"version":1,"id":…,"outcome":{…}}                  a Reply
//   {"version":1,"id":…,"progress":{"run":…,"state":…,"pieces":[{"stream":"stdout","at":…,
//    "text":…}],"caught_up":…,"finished":…}}            a Progress
//   {"version":1,"id":…,"watch":{"to":…,"run":…,"stdout_from":…,"stderr_from":…,"stop":…}}
//
// Bounds are kept on both ends: what would not be read is not written. Readers ignore members they
// do not know, and refuse a version they do not know. Errors are kInvalidArgument and quote nothing
// of the text, so they may be logged.
//
// Thread-safe: functions of their arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "queue/broker.h"

namespace forkbox::queue {

inline constexpr std::int64_t kMessageVersion = 1;
inline constexpr std::size_t kMaxIdBytes = 128;
inline constexpr std::size_t kMaxOwnerBytes = 256;
// Above this the runner reads the execution from the store: messages wait in the broker's memory.
inline constexpr std::size_t kMaxInlineExecutionBytes = 64U << 10;
inline constexpr std::size_t kMaxMessageBytes = kMaxInlineExecutionBytes + (4U << 10);
// Both streams at a generous limit, in the worst escaping.
inline constexpr std::size_t kMaxReplyBytes = 32U << 20;

// 1 to kMaxIdBytes letters, digits and "._:-".
bool IsExecutionId(std::string_view text);

Result<std::string> EncodeMessage(const Message& message);
// `lane`: that of the queue it came from. An execution inside agrees with what is around it.
Result<Message> DecodeMessage(std::string_view text, schema::Priority lane);

// `to` does not travel: it is the address.
Result<std::string> EncodeReply(const Reply& reply);
Result<Reply> DecodeReply(std::string_view text);
Result<std::string> EncodeProgress(const Progress& progress);
// What comes to a reply address.
using ReplyOrProgress = std::variant<Reply, Progress>;
Result<ReplyOrProgress> DecodeReplyOrProgress(std::string_view text);

Result<std::string> EncodeWatch(const Watch& watch);
Result<Watch> DecodeWatch(std::string_view text);

}  // namespace forkbox::queue
