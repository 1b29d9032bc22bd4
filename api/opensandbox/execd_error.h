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
// INVALID_REQUEST_BODY; kConflict: 409 CONFLICT; kQueueFull: 429 TOO_MANY_REQUESTS; kUnavailable:
// 503; else 500. `prefix` goes before the words.
ExecdError FailedCall(const Error& error, std::string_view not_found, std::string_view prefix);
// The same of files, where the system's own words say whose mistake it was: 403 FORBIDDEN for what
// the box's user may not do, 409 CONFLICT for what is in the way, 507 INSUFFICIENT_STORAGE for a
// full disk, 400 for names that mean something else; not found is FILE_NOT_FOUND.
ExecdError FailedFile(const Error& error, std::string_view prefix);

}  // namespace forkbox::api
