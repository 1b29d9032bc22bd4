// RetryPolicy: what becomes of a delivery after an attempt.
//
//   2xx              delivered
//   410 Gone         dead: the receiver wants no more of it
//   impossible       dead
//   refused by us    again later, a few times; then dead
//   anything else    again later, until the delays are used up; then dead
//
// Other 4xx are tried again, too: receivers are deployed, mended and given new secrets, and ten
// small requests over a day cost nobody anything. Redirects are failures; the owner corrects the
// URL. Retry-After delays the next attempt further, up to a day; it never hastens one.
//
// Pure: no clock, no chance of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "store/delivery_store.h"
#include "webhook/sender.h"

namespace forkbox::webhook {

struct RetryPolicy {
  // Before the second attempt, the third, and so on: about 28 hours in all.
  std::vector<std::chrono::milliseconds> delays{std::chrono::seconds(5),  std::chrono::seconds(30),
                                                std::chrono::minutes(2),  std::chrono::minutes(10),
                                                std::chrono::minutes(30), std::chrono::hours(1),
                                                std::chrono::hours(2),    std::chrono::hours(4),
                                                std::chrono::hours(8),    std::chrono::hours(12)};
  std::size_t delays_when_refused = 3;  // only the first of them
  std::chrono::milliseconds max_retry_after = std::chrono::hours(24);

  struct Verdict {
    store::DeliveryState state = store::DeliveryState::kPending;
    std::int64_t next_attempt_unix_ms = 0;  // when pending
    std::string error{};                    // "" when delivered
  };

  // After the `attempt`th, from 1. `chance`, from 0 to 1, moves the delay by up to a fifth either
  // way, so that what failed together does not come back together.
  [[nodiscard]] Verdict Judge(int attempt, const Answer& answer, std::int64_t now_unix_ms,
                              double chance) const;
};

}  // namespace forkbox::webhook
