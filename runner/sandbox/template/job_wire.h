// The job on its way from the worker to a child: one length-prefixed frame on the channel. And the
// first byte of what a function's child sends back: the rest, to the end of the stream, is the
// text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {

struct JobFile {
  std::string_view path;
  std::string_view content;
};

// Code is at most 1 MiB and files at most 64 MiB together where requests enter; a frame beyond
// this is refused by the child.
inline constexpr std::uint64_t kMaxJobFrameBytes = 96ULL << 20;

enum class AnswerKind : char {
  kValue = 'v',          // of the function, as JSON
  kCompileFailed = 'c',  // no text: the message is on stderr
};

// The 8-byte size, then the body.
std::string EncodeJob(const ChildJob& job, const std::vector<JobFile>& files);

// Parses a body. `files` point into it. False for anything malformed.
bool DecodeJob(std::string_view body, ChildJob* job, std::vector<JobFile>* files);

}  // namespace forkbox::sandbox
