// What goes between Files and the process inside a box that does the work, over a SOCK_STREAM
// socket: frames, each a header and so many bytes. One request at a time.
//
//   Files                                agent
//   kRequest ───────────────────────────▶
//            ◀─────────────────────────── kBegun       before it touches anything; whoever is
//                                                      left without it may ask somebody else
//            ◀─────────────────────────── kEntries …   of a walk, as many as needed
//            ◀─────────────────────────── kDone | kFailed
//
// Only of kReplace and kUpload does kBegun name a file; only these leave one behind.
//
// An upload goes on after kDone: kData …, then kCommit or kAbort, answered by kDone or kFailed.
// kFailed may come earlier, when the disk is full; the agent then takes no more requests.
//
// To Files the agent is a stranger: everything from it is bounded and checked. Numbers are in the
// machine's own order: both ends run on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

enum class FrameKind : std::uint32_t {
  kRequest = 1,
  kData = 2,
  kCommit = 3,
  kAbort = 4,
  kBegun = 16,
  kEntries = 17,
  kDone = 18,
  kFailed = 19,
};

struct FrameHeader {
  std::uint32_t kind = 0;
  std::uint32_t size = 0;
};

inline constexpr std::size_t kMaxPathBytes = 4095;
inline constexpr std::size_t kMaxReplaceBytes = 64U << 20;
inline constexpr std::size_t kMaxListedEntries = 100'000;
inline constexpr std::size_t kMaxListedBytes = 32U << 20;
inline constexpr std::uint32_t kMaxWalkDepth = 256;
inline constexpr std::size_t kDataFrameBytes = 256U << 10;
// Two texts of a replacement, and the rest.
inline constexpr std::size_t kMaxRequestBytes = 2 * kMaxReplaceBytes + (64U << 10);
// Of a listing, that is of kEntries in an answer to kList and kSearch; and of all else.
inline constexpr std::size_t kMaxReplyBytes = 512U << 10;
inline constexpr std::size_t kMaxShortReplyBytes = 32U << 10;

enum class Operation : std::uint32_t {
  kInfo = 1,
  kRemove,
  kSetPermission,
  kMove,
  kSearch,
  kReplace,
  kList,
  kMakeDirectory,
  kRemoveTree,
  kCheckDirectory,
  kOpen,
  kUpload,
  kSignal,
  kConnect,
};

// Every operation uses some of these.
struct AgentRequest {
  Operation operation = Operation::kInfo;
  std::string_view path;
  std::string_view other;     // destination, pattern, text to be replaced
  std::string_view new_text;  // of a replacement
  std::string_view owner;
  std::string_view group;
  std::uint32_t mode = 0;
  std::uint32_t number = 0;  // depth, port, signal
  std::int32_t pid = 0;
  bool whole_group = false;
};

std::string EncodeRequest(const AgentRequest& request);
// The views are of `body`.
bool DecodeRequest(std::string_view body, AgentRequest* request);

// kBegun: where a temporary file may be left should the agent die from here on, or "".
std::string EncodeText(std::string_view text);
bool DecodeText(std::string_view body, std::string* text);

// kDone.
struct AgentAnswer {
  std::uint64_t number = 0;
  std::string text;
};
std::string EncodeAnswer(const AgentAnswer& answer);
bool DecodeAnswer(std::string_view body, AgentAnswer* answer);

// kFailed. Messages are cut at 8 KiB, and are valid UTF-8 on the side of Files.
std::string EncodeFailure(const Error& error);
bool DecodeFailure(std::string_view body, Error* error);

// kEntries: one after the other.
void AppendEntry(const FileInfo& info, std::string* body);
// Appends to *entries; false when anything is amiss or there would be more than `limit`.
bool DecodeEntries(std::string_view body, std::size_t limit, std::vector<FileInfo>* entries);

}  // namespace forkbox::execd
