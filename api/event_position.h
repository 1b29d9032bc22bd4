// EventPosition: how much of an execution's events somebody has, as the id of the last of them
// says.
//
//   r-120-7-9c3f5a0e11d2b847    running; 120 bytes of stdout, 7 of stderr, and what they were
//
// An id names a place in the texts of the outcome (valid UTF-8), so no log of events is kept:
// whoever has the texts, be it the runner, an API process or the store, can go on from any id. The
// last part is a digest of what was sent up to there: an execution that was run a second time, its
// first runner having died, may print something else, and then the stream begins anew.
//
// Plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox::api {

class EventPosition {
 public:
  // In the order in which they come. The first three are the states before the end.
  enum class Phase : char {
    kStart = 's',
    kQueued = 'q',
    kCompiling = 'c',
    kRunning = 'r',
    kCompileOutput = 'o',
    kValue = 'v',
    kDone = 'd',
  };

  // An id as a client sent it; null when it is none of ours.
  static std::optional<EventPosition> Parse(std::string_view id);
  [[nodiscard]] std::string ToString() const;

  [[nodiscard]] Phase phase() const { return phase_; }
  void set_phase(Phase phase) { phase_ = phase; }
  // True for one that is reached after this one.
  [[nodiscard]] bool IsBefore(Phase phase) const;

  [[nodiscard]] std::uint64_t stdout_bytes() const { return stdout_.bytes; }
  [[nodiscard]] std::uint64_t stderr_bytes() const { return stderr_.bytes; }
  void AdvanceStdout(std::string_view text) { stdout_.Advance(text); }
  void AdvanceStderr(std::string_view text) { stderr_.Advance(text); }

  // Whether these texts begin with what was sent. Reads as much of them; then goes on from there.
  bool Resume(std::string_view stdout_text, std::string_view stderr_text);

  bool operator==(const EventPosition& other) const {
    return phase_ == other.phase_ && stdout_.bytes == other.stdout_.bytes &&
           stderr_.bytes == other.stderr_.bytes && Digest() == other.Digest();
  }

 private:
  struct Stream {
    std::uint64_t bytes = 0;
    std::uint64_t digest = 0xcbf29ce484222325U;  // FNV-1a
    void Advance(std::string_view text);
  };

  [[nodiscard]] std::uint64_t Digest() const;

  Phase phase_ = Phase::kStart;
  Stream stdout_;
  Stream stderr_;
  std::optional<std::uint64_t> parsed_digest_;  // until Resume()
};

}  // namespace forkbox::api
