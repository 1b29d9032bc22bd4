#include "runner/sandbox/answer.h"

#include <string>
#include <utility>

#include "runner/sandbox/template/job_wire.h"
#include "schema/json.h"

namespace forkbox::sandbox {
namespace {

// As many values as fit: every one takes at least a character and a comma.
constexpr schema::JsonLimits kValueLimits{
    .max_depth = kMaxValueDepth, .max_values = kMaxValueBytes / 2 + 1, .max_bytes = kMaxValueBytes};

}  // namespace

void ApplyAnswer(std::string_view answer, bool cut, schema::Outcome* outcome) {
  if (outcome->reason != schema::Reason::kExited) return;
  const char kind = answer.empty() ? '\0' : answer[0];
  if (outcome->exit_code != 0) {
    if (answer.size() != 1 || kind != static_cast<char>(AnswerKind::kCompileFailed)) return;
    outcome->reason = schema::Reason::kCompileFailed;
    outcome->state = schema::StateOf(outcome->reason, outcome->exit_code);
    outcome->compile_output = std::exchange(outcome->stderr_text, {});
    return;
  }
  if (answer.empty()) {
    outcome->message = "the function ended without a value";
  } else if (cut) {
    outcome->message = "the function's value is too large";
  } else if (kind != static_cast<char>(AnswerKind::kValue)) {
    outcome->message = "the function's value is not in its form";
  } else if (auto value = schema::ParseJson(answer.substr(1), kValueLimits); !value) {
    outcome->message = "the function's value is not JSON: " + value.error().message;
  } else {
    outcome->value_json = answer.substr(1);
  }
}

}  // namespace forkbox::sandbox
