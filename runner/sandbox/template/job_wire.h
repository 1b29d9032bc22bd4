// The job on its way from the worker to a child: one length-prefixed frame on the channel. And the
// first byte of what the child of a function or a compile sends back: the rest, to the end of the
// stream, is the text or the files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {

struct JobFile {
  std::string_view path;
  std::string_view content;
  bool executable = false;
};

// Code is at most 1 MiB and files at most 64 MiB together where requests enter; a frame beyond
// this is refused by the child.
inline constexpr std::uint64_t kMaxJobFrameBytes = 96ULL << 20;

enum class AnswerKind : char {
  kValue = 'v',          // of the function, as JSON
  kCompileFailed = 'c',  // no text: the message is on stderr
  kArtefacts = 'a',      // of a compile: EncodeFiles()
  kNoArtefacts = 'n',    // of a compile that exited with 0: why there are none
  kExit = 'x',           // of a script: AnnounceExit()
};

// "x" and the exit code in one byte.
inline constexpr std::size_t kAnnouncementBytes = 2;
std::string Announcement(int exit_code);
// nullopt for anything else.
std::optional<int> ReadAnnouncement(std::string_view text);

// The 8-byte size, then the body.
std::string EncodeJob(const ChildJob& job, const std::vector<JobFile>& files);

// Parses a body. `files` point into it. False for anything malformed.
bool DecodeJob(std::string_view body, ChildJob* job, std::vector<JobFile>* files);

// Files alone, as a compile's child sends them.
std::string EncodeFiles(const std::vector<JobFile>& files);
// `files` point into the text. False for anything malformed, and for more files than `most`, which
// are not decoded.
bool DecodeFiles(std::string_view text, std::size_t most, std::vector<JobFile>* files);

}  // namespace forkbox::sandbox
