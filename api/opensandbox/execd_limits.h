// What servers must allow for execd, whose clients name many files in one query and take their time
// with what they read.
#pragma once

#include <chrono>

#include "api/http/limits.h"

namespace forkbox::api {

inline void WidenForExecd(http::Limits* limits) {
  limits->max_target_bytes = 32U << 10;
  limits->max_head_bytes = 64U << 10;
  limits->write_gap_timeout = std::chrono::seconds(60);
}

}  // namespace forkbox::api
