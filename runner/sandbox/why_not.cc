#include "runner/sandbox/why_not.h"

#include <algorithm>

#include "schema/utf8.h"

namespace forkbox::sandbox {
namespace {

constexpr std::size_t kMaxLineBytes = 200;

// That is not empty.
std::string FirstLine(const std::string& text) {
  const std::size_t start = text.find_first_not_of("\r\n");
  if (start == text.npos) return "";
  const std::size_t end = std::min(text.find_first_of("\r\n", start), start + kMaxLineBytes);
  return schema::ToValidUtf8(text.substr(start, end - start));
}

}  // namespace

std::string WhyNot(std::string_view what, const schema::Outcome& outcome) {
  std::string reason = std::string(what) + ": " + std::string(schema::ToString(outcome.reason));
  if (outcome.reason == schema::Reason::kExited && outcome.exit_code) {
    reason += " with " + std::to_string(*outcome.exit_code);
  }
  if (outcome.reason == schema::Reason::kSignalled && outcome.signal) {
    reason += " by " + std::to_string(*outcome.signal);
  }
  const std::string& said = outcome.stderr_text.empty() ? outcome.stdout_text : outcome.stderr_text;
  for (const std::string* text : {&outcome.message, &outcome.compile_output, &said}) {
    if (const std::string line = FirstLine(*text); !line.empty()) reason += ", " + line;
  }
  return reason;
}

}  // namespace forkbox::sandbox
