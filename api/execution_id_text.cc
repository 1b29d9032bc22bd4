#include "api/execution_id_text.h"

#include <algorithm>

#include "base/uuid.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kPrefix = "exec_";
constexpr std::size_t kDigits = 32;

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

char Lower(char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string Exec0Id(const schema::ExecutionId& id) {
  if (!IsUuid(id.str())) return id.str();
  std::string text(kPrefix);
  for (const char c : id.str()) {
    if (c != '-') text += c;
  }
  return text;
}

std::string ShownId(const schema::Execution& execution) {
  return execution.dialect == "exec0" ? Exec0Id(execution.id) : execution.id.str();
}

schema::ExecutionId ToExecutionId(std::string_view text) {
  const std::string_view digits = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : "";
  if (digits.size() != kDigits || !std::ranges::all_of(digits, IsHexDigit)) {
    return schema::ExecutionId(std::string(text));
  }
  std::string uuid;
  for (std::size_t i = 0; i < kDigits; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) uuid += '-';
    uuid += Lower(digits[i]);
  }
  return schema::ExecutionId(uuid);
}

}  // namespace forkbox::api
