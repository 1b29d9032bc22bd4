#include "api/event_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace forkbox::api {
namespace {

using Phase = EventPosition::Phase;
using std::chrono::steady_clock;

constexpr std::size_t kMaxTextBytes = 16U << 10;   // of one event
constexpr std::size_t kMaxWriteBytes = 64U << 10;  // at once
// A client that has so much to take is told more when it has taken some. Far below
// http::Limits::max_backlog_bytes, which would cut it off.
constexpr std::size_t kMaxBacklogBytes = 256U << 10;

std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// kStart for a word that is none.
Phase PhaseOf(std::string_view state) {
  if (state == "queued") return Phase::kQueued;
  if (state == "compiling") return Phase::kCompiling;
  return state == "running" ? Phase::kRunning : Phase::kStart;
}

// How far it had come before it ended.
std::string_view LastStateOf(const store::ExecutionRecord& record) {
  if (record.outcome && record.outcome->reason == schema::Reason::kCompileFailed) {
    return "compiling";
  }
  return record.started_unix_ms == 0 ? "queued" : "running";
}

}  // namespace

EventWriter::Status EventWriter::Tell(const KnownEvents& known) {
  for (;;) {
    if (!Flush()) return gone_ ? Status::kGone : Status::kLags;
    if (complete_) return Status::kComplete;
    if (!MakeNext(known)) return Status::kWaits;
  }
}

bool EventWriter::Flush() {
  const auto write = [this](std::string_view text, std::size_t* written) {
    while (*written < text.size()) {
      if (reply_.Backlog() > kMaxBacklogBytes) return false;
      const std::string_view part = text.substr(*written, kMaxWriteBytes);
      if (!reply_.Write(part)) {
        gone_ = true;
        return false;
      }
      *written += part.size();
      wrote_at_ = steady_clock::now();
    }
    return true;
  };
  if (!write(outbox_, &written_)) return false;
  outbox_.clear();
  written_ = 0;
  if (document_ == nullptr) return true;
  if (!write(*document_, &document_written_)) return false;
  document_.reset();
  outbox_ = "\n\n";
  return Flush();
}

bool EventWriter::MakeNext(const KnownEvents& known) {
  const bool ended = known.ended != nullptr;
  if (!checked_) {
    const bool enough = known.stdout_text.size() >= position_.stdout_bytes() &&
                        known.stderr_text.size() >= position_.stderr_bytes();
    if (!enough && !known.caught_up && !ended) return false;
    checked_ = true;
    // Who has the end of something that has not ended has it of another run.
    const bool beyond = !ended && position_.IsBefore(Phase::kDone) == false;
    if (beyond || !position_.Resume(known.stdout_text, known.stderr_text)) {
      position_ = EventPosition();
      reset_ = true;
    }
  }
  if (reset_ || !ended || position_.IsBefore(PhaseOf(LastStateOf(*known.ended)))) {
    const std::string_view state = ended ? LastStateOf(*known.ended) : known.state;
    const Phase phase = PhaseOf(state);
    if (phase != Phase::kStart && (reset_ || phase != position_.phase())) {
      MakeState(state);
      return true;
    }
  }
  if (MakeText(known.stdout_text, /*is_stderr=*/false)) return true;
  if (MakeText(known.stderr_text, /*is_stderr=*/true)) return true;
  if (!ended) return false;

  const schema::Outcome& outcome = *known.ended->outcome;
  if (position_.IsBefore(Phase::kCompileOutput) && !outcome.compile_output.empty()) {
    position_.set_phase(Phase::kCompileOutput);
    Make("compile", R"({"text":)" + Quoted(outcome.compile_output) + "}");
    return true;
  }
  if (position_.IsBefore(Phase::kValue) && outcome.value_json) {
    position_.set_phase(Phase::kValue);
    std::string value = *outcome.value_json;
    // Within JSON these are blanks; within an event they would end the line.
    std::replace_if(
        value.begin(), value.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
    Make("value", R"({"value":)" + value + "}");
    return true;
  }
  position_.set_phase(Phase::kDone);
  outbox_ = "id: " + position_.ToString() + "\nevent: done\ndata: ";
  document_ = known.document;
  document_written_ = 0;
  complete_ = true;
  return true;
}

bool EventWriter::MakeText(std::string_view text, bool is_stderr) {
  const std::uint64_t at = is_stderr ? position_.stderr_bytes() : position_.stdout_bytes();
  if (at >= text.size()) return false;
  text.remove_prefix(at);
  if (text.size() > kMaxTextBytes) {
    std::size_t end = kMaxTextBytes;  // between two characters
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    text = text.substr(0, end);
  }
  if (is_stderr) {
    position_.AdvanceStderr(text);
  } else {
    position_.AdvanceStdout(text);
  }
  Make(is_stderr ? "stderr" : "stdout", R"({"text":)" + Quoted(text) + "}");
  return true;
}

void EventWriter::MakeState(std::string_view word) {
  position_.set_phase(PhaseOf(word));
  Make("state", R"({"state":)" + Quoted(word) + (reset_ ? R"(,"reset":true})" : "}"));
  reset_ = false;
}

void EventWriter::Make(std::string_view event, std::string_view data) {
  outbox_ = "id: " + position_.ToString() + "\nevent: ";
  outbox_.append(event).append("\ndata: ").append(data).append("\n\n");
}

void EventWriter::KeepAlive(std::chrono::milliseconds silence) {
  const SteadyTime now = steady_clock::now();
  // In the middle of an event a comment would be a part of it.
  if (now < wrote_at_ + silence || !outbox_.empty() || document_ != nullptr) return;
  wrote_at_ = now;
  if (!reply_.Write(":\n\n")) gone_ = true;
}

}  // namespace forkbox::api
