#include "api/execution_document.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "api/execution_id_text.h"
#include "base/rfc3339.h"
#include "runner/sandbox/answer.h"
#include "schema/json.h"
#include "schema/utf8.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;
using schema::State;

// The four words of the specification, of which `running` is whatever has not ended.
std::string_view StatusOf(State state) {
  switch (state) {
    case State::kCancelled:
    case State::kLost:
      return "error";
    case State::kQueued:
      return ToString(State::kRunning);
    default:
      return ToString(state);
  }
}

ordered_json TimeOrNull(std::int64_t unix_ms) {
  return unix_ms == 0 ? ordered_json(nullptr) : ordered_json(Rfc3339Millis(unix_ms));
}

// As a shell reports it; 124 for a program that ran out of time.
int ExitCodeOf(std::optional<int> exit_code, std::optional<int> signal, schema::Reason reason) {
  if (exit_code) return *exit_code;
  if (reason == schema::Reason::kWallTimeout || reason == schema::Reason::kCpuTimeout ||
      reason == schema::Reason::kQueueDeadline) {
    return 124;
  }
  if (signal) return 128 + *signal;
  return reason == schema::Reason::kOutOfMemory ? 137 : 1;
}

double Millis(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1000.0; }

// Cut between characters.
std::string Head(const std::string& text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  std::string head = text.substr(0, bytes);
  head.resize(head.size() - schema::IncompleteUtf8Suffix(head));
  return head;
}

ordered_json CaseDocument(const schema::CaseOutcome& outcome, const DocumentForm& form) {
  const bool ran = outcome.verdict != schema::Verdict::kNotRun;
  ordered_json document{
      {"verdict", ToString(outcome.verdict)},
      {"stdout", Head(outcome.stdout_text, form.max_text_bytes)},
      {"stderr", Head(outcome.stderr_text, form.max_text_bytes)},
      {"exitCode", ran ? ordered_json(ExitCodeOf(outcome.exit_code, outcome.signal, outcome.reason))
                       : ordered_json(nullptr)},
      {"executionTime", outcome.usage.wall.count() / 1000},
      {"memoryUsed", outcome.usage.peak_memory_bytes >> 10}};
  if (outcome.stdout_truncated) document["stdoutTruncated"] = true;
  if (outcome.stderr_truncated) document["stderrTruncated"] = true;
  return document;
}

ordered_json ResultOf(const schema::Outcome& outcome, const DocumentForm& form) {
  const auto cut = [&](const std::string& text) { return text.size() > form.max_text_bytes; };
  return {{"stdout", Head(outcome.stdout_text, form.max_text_bytes)},
          {"stderr", Head(outcome.stderr_text, form.max_text_bytes)},
          {"exitCode", ExitCodeOf(outcome.exit_code, outcome.signal, outcome.reason)},
          {"compilationOutput", Head(outcome.compile_output, form.max_text_bytes)},
          {"stdoutTruncated", outcome.stdout_truncated || cut(outcome.stdout_text)},
          {"stderrTruncated", outcome.stderr_truncated || cut(outcome.stderr_text)}};
}

void AddTests(const schema::Outcome& outcome, const DocumentForm& form, ordered_json* document) {
  const auto passed =
      std::ranges::count(outcome.cases, schema::Verdict::kPassed, &schema::CaseOutcome::verdict);
  if (form.with_tests) {
    ordered_json tests = ordered_json::array();
    for (const auto& one : outcome.cases) tests.push_back(CaseDocument(one, form));
    (*document)["tests"] = std::move(tests);
  }
  (*document)["summary"] = {{"passed", passed}, {"total", outcome.cases.size()}};
}

ordered_json ValueOf(const std::string& value_json) {
  // Checked when it came from the program; a row that was damaged since has no value.
  schema::JsonLimits limits = schema::kRowJsonLimits;
  limits.max_depth = sandbox::kMaxValueDepth;
  const auto value = schema::ParseJson(value_json, limits);
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

}  // namespace

ordered_json ToDocument(const store::ExecutionRecord& record, const DocumentForm& form) {
  const schema::Execution& execution = record.execution;
  const auto& outcome = record.outcome;
  ordered_json document{{"id", ShownId(execution)}, {"status", StatusOf(record.state)}};
  if (outcome) {
    document["result"] = ResultOf(*outcome, form);
    document["executionTime"] = (outcome->timings.compile + outcome->timings.exec).count() / 1000;
    document["memoryUsed"] = outcome->usage.peak_memory_bytes >> 10;
  } else {
    document["result"] = nullptr;
  }
  document["createdAt"] = Rfc3339Millis(execution.created_unix_ms);
  document["language"] = execution.language;
  if (outcome && !outcome->cases.empty()) AddTests(*outcome, form, &document);
  document["state"] = ToString(record.state);
  if (form.whole_row) {
    document["startedAt"] = TimeOrNull(record.started_unix_ms);
    document["attempts"] = record.attempts;
  }
  document["finishedAt"] = TimeOrNull(record.finished_unix_ms);
  document["dialect"] = execution.dialect;
  document["isolation"] = ToString(execution.isolation);
  document["accelerator"] = outcome && !outcome->accelerator.empty()
                                ? ordered_json(outcome->accelerator)
                                : ordered_json(nullptr);
  if (!execution.client_reference.empty()) {
    document["clientReference"] = execution.client_reference;
  }
  if (outcome) {
    document["reason"] = ToString(outcome->reason);
    document["message"] = outcome->message;
    if (outcome->signal) document["signal"] = *outcome->signal;
    if (outcome->value_json && outcome->value_json->size() <= form.max_text_bytes) {
      document["value"] = ValueOf(*outcome->value_json);
    }
    document["timings"] = {{"queueMs", Millis(outcome->timings.queue)},
                           {"forkMs", Millis(outcome->timings.fork)},
                           {"compileMs", Millis(outcome->timings.compile)},
                           {"execMs", Millis(outcome->timings.exec)},
                           {"totalMs", Millis(outcome->timings.total)}};
  }
  return document;
}

std::string ExecutionDocument(const store::ExecutionRecord& record) {
  return ToDocument(record).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace forkbox::api
