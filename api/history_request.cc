#include "api/history_request.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "api/exec0_query.h"
#include "api/execution_id_text.h"
#include "base/rfc3339.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using schema::ExecutionId;
using schema::State;
using store::HistoryQuery;

constexpr std::uint64_t kMaxLimit = 100;
constexpr std::uint64_t kMaxOffset = 10'000;
constexpr std::string_view kCursorPrefix = "c1_";

struct StatusWord {
  std::string_view word;
  std::vector<State> states;
};

// As documents word it: `error` are cancelled and lost ones, too, and `running` queued ones.
const std::vector<StatusWord>& StatusWords() {
  static const std::vector<StatusWord> words{
      {"completed", {State::kCompleted}},
      {"running", {State::kQueued, State::kRunning}},
      {"timeout", {State::kTimeout}},
      {"error", {State::kError, State::kCancelled, State::kLost}},
      {"queued", {State::kQueued}},
      {"cancelled", {State::kCancelled}},
      {"lost", {State::kLost}}};
  return words;
}

std::string Shown(std::string_view text) {
  return "a string of " + std::to_string(text.size()) + " bytes";
}

tl::unexpected<Exec0Problem> Invalid(std::string_view name, std::string_view limit,
                                     nlohmann::ordered_json received) {
  return tl::unexpected<Exec0Problem>(InvalidField(name, limit, std::move(received)));
}

// FNV-1a: it guards against mistakes only, for a cursor gives away nothing and opens nothing.
std::string FilterMark(const HistoryQuery& query) {
  std::string text = query.language + '|' + std::to_string(query.since_unix_ms) + '|' +
                     std::to_string(query.until_unix_ms);
  for (const State state : query.states) text += '|' + std::string(ToString(state));
  std::uint32_t hash = 2'166'136'261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16'777'619U;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string mark;
  for (int shift = 28; shift >= 0; shift -= 4) mark += kDigits[hash >> shift & 0xF];
  return mark;
}

// "c1_" 32 digits of the id, 8 of the filters.
std::optional<ExecutionId> ReadCursor(std::string_view text, const HistoryQuery& query) {
  if (!text.starts_with(kCursorPrefix)) return std::nullopt;
  text.remove_prefix(kCursorPrefix.size());
  if (text.size() != 40 || text.substr(32) != FilterMark(query)) return std::nullopt;
  ExecutionId id = ToExecutionId("exec_" + std::string(text.substr(0, 32)));
  if (!IsUuid(id.str())) return std::nullopt;
  return id;
}

}  // namespace

tl::expected<HistoryQuery, Exec0Problem> ToHistoryQuery(const http::Call& call,
                                                        LanguageCatalog& languages) {
  HistoryQuery query;
  const auto limit = CountParameter(call, "limit", 1, kMaxLimit, query.limit);
  if (!limit) return tl::unexpected(limit.error());
  query.limit = *limit;
  const auto offset = CountParameter(call, "offset", 0, kMaxOffset, 0);
  if (!offset) return tl::unexpected(offset.error());
  const auto page = CountParameter(call, "page", 1, kMaxOffset / *limit + 1, 1);
  if (!page) return tl::unexpected(page.error());
  std::string text;
  const bool by_page = call.Query("page", &text);
  if (by_page && call.Query("offset", &text)) {
    return Invalid("page", "left out beside offset", *page);
  }
  query.offset = by_page ? (*page - 1) * *limit : *offset;

  if (call.Query("language", &text)) {
    const auto language = languages.Find(text);
    // One that is not here now may have been once.
    const bool word = !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("+#._-").find(c) != std::string_view::npos;
    });
    if (!word) return Invalid("language", "a language", Shown(text));
    query.language = language ? language->id : text;
  }
  if (call.Query("status", &text)) {
    const auto known = std::ranges::find(StatusWords(), std::string_view(text), &StatusWord::word);
    if (known == StatusWords().end()) {
      return Invalid("status",
                     "one of: completed, running, timeout, error, queued, cancelled, lost",
                     Shown(text));
    }
    query.states = known->states;
  }
  const auto since = TimeParameter(call, "since", 0);
  if (!since) return tl::unexpected(since.error());
  query.since_unix_ms = *since;
  const auto until = TimeParameter(call, "until", 0);
  if (!until) return tl::unexpected(until.error());
  query.until_unix_ms = *until;
  if (query.until_unix_ms != 0 && query.until_unix_ms < query.since_unix_ms) {
    return Invalid("until", "not before since", Rfc3339Millis(query.until_unix_ms));
  }

  if (call.Query("cursor", &text)) {
    if (by_page || query.offset != 0) {
      return Invalid("cursor", "left out beside offset and page", Shown(text));
    }
    const auto before = ReadCursor(text, query);
    if (!before) {
      return Invalid("cursor", "the nextCursor of a page with the same filters", Shown(text));
    }
    query.before = *before;
  }
  return query;
}

std::string CursorAfter(const ExecutionId& last, const HistoryQuery& query) {
  std::string digits;
  for (const char c : last.str()) {
    if (c != '-') digits += c;
  }
  return std::string(kCursorPrefix) + digits + FilterMark(query);
}

}  // namespace forkbox::api
