#include "api/exec0_query.h"

#include <charconv>
#include <optional>
#include <string>

#include "base/rfc3339.h"

namespace forkbox::api {
namespace {

std::optional<std::uint64_t> ParseCount(std::string_view text) {
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return count;
}

nlohmann::ordered_json ReceivedText(const std::string& text) {
  if (const auto count = ParseCount(text)) return *count;
  return Received(nlohmann::json(text));
}

}  // namespace

tl::expected<std::uint64_t, Exec0Problem> CountParameter(const http::Call& call,
                                                         std::string_view name, std::uint64_t least,
                                                         std::uint64_t most,
                                                         std::uint64_t otherwise) {
  std::string text;
  if (!call.Query(name, &text)) return otherwise;
  const auto count = ParseCount(text);
  if (count && *count >= least && *count <= most) return *count;
  return tl::unexpected(
      InvalidField(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most),
                   ReceivedText(text)));
}

tl::expected<std::int64_t, Exec0Problem> TimeParameter(const http::Call& call,
                                                       std::string_view name,
                                                       std::int64_t otherwise) {
  // The year 9999, as far as RFC 3339 goes.
  constexpr std::uint64_t kLatest = 253'402'300'799'999;
  std::string text;
  if (!call.Query(name, &text)) return otherwise;
  if (const auto time = ParseRfc3339(text)) return *time;
  const auto millis = ParseCount(text);
  if (millis && *millis <= kLatest) return static_cast<std::int64_t>(*millis);
  return tl::unexpected(InvalidField(
      name, "a time such as 2027-01-28T00:00:00Z, or milliseconds since 1970", ReceivedText(text)));
}

}  // namespace forkbox::api
