#include "webhook/retry_policy.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace forkbox::webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// RFC 9110, section 10.2.3: seconds, or a date. Null for neither.
std::optional<milliseconds> ParseRetryAfter(std::string_view text, std::int64_t now_unix_ms,
                                            milliseconds limit) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);

  if (text.find_first_not_of("0123456789") == std::string_view::npos) {
    std::int64_t count = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
    const auto most = std::chrono::duration_cast<seconds>(limit).count();
    return parsed.ec == std::errc() ? milliseconds(seconds(std::min(count, most))) : limit;
  }
  const std::time_t date = ::curl_getdate(std::string(text).c_str(), nullptr);
  if (date < 0) return std::nullopt;
  // In seconds: no date of curl's, and no clock, overflows.
  const std::int64_t wait = std::int64_t{date} - now_unix_ms / 1'000;
  const auto most = std::chrono::duration_cast<seconds>(limit).count();
  return milliseconds(seconds(std::clamp<std::int64_t>(wait, 0, most)));
}

std::string WordsFor(const Answer& answer) {
  if (answer.end != Answer::End::kAnswered) return answer.error;
  const std::string status = "the receiver answered " + std::to_string(answer.status);
  const bool redirect = answer.status >= 300 && answer.status < 400;
  return redirect ? status + "; redirects are not followed" : status;
}

}  // namespace

RetryPolicy::Verdict RetryPolicy::Judge(int attempt, const Answer& answer, std::int64_t now_unix_ms,
                                        double chance) const {
  const bool answered = answer.end == Answer::End::kAnswered;
  if (answered && answer.status >= 200 && answer.status < 300) {
    return {.state = store::DeliveryState::kDelivered};
  }
  const std::size_t retries = answer.end == Answer::End::kRefused
                                  ? std::min(delays_when_refused, delays.size())
                                  : delays.size();
  const auto made = static_cast<std::size_t>(std::max(attempt, 1));
  if (made > retries || answer.end == Answer::End::kImpossible ||
      (answered && answer.status == 410)) {
    return {.state = store::DeliveryState::kDead, .error = WordsFor(answer)};
  }
  const auto moved = static_cast<double>(delays[made - 1].count()) * (0.8 + 0.4 * chance);
  milliseconds delay(static_cast<std::int64_t>(moved));
  if (const auto asked = ParseRetryAfter(answer.retry_after, now_unix_ms, max_retry_after)) {
    delay = std::max(delay, *asked);
  }
  return {.state = store::DeliveryState::kPending,
          .next_attempt_unix_ms = now_unix_ms + delay.count(),
          .error = WordsFor(answer)};
}

}  // namespace forkbox::webhook
