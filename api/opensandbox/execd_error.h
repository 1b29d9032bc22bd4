// ExecdError: a refusal in execd's words (reference 1.3).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::api {

struct ExecdError {
  int status = 500;
  std::string code;  // "INVALID_REQUEST_BODY"
  std::string message;

  [[nodiscard]] std::string Body() const;  // {"code":…,"message":…}, empty ones left out
};

ExecdError InvalidBody(std::string message);  // 400 INVALID_REQUEST_BODY
// The body does not decode: the reference's words before what is wrong.
ExecdError UnparsableBody(const Error& error);
// What failed while it was done. kNotFound: 404 with `not_found` as its code; kInvalidArgument: 400
// INVALID_REQUEST_BODY; kUnavailable and kQueueFull: 503; else 500. `prefix` goes before the words.
ExecdError FailedCall(const Error& error, std::string_view not_found, std::string_view prefix);

}  // namespace forkbox::api
