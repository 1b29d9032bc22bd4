// The text before the body of an answer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "api/http/fields.h"

namespace forkbox::http {

// "Not Found" for 404; "Status" for what has no name here.
std::string_view ReasonPhrase(int status);

struct ResponseHead {
  int status = 200;
  std::string_view content_type;  // empty: none
  std::string_view request_id;
  const Fields* headers = nullptr;  // those the server sets itself are passed over
  bool keep_alive = true;
  std::optional<std::size_t> content_length;
  bool chunked = false;

  // With the empty line at its end. Control characters in values become blanks, fields whose name
  // is no token are left out: no value can start a line of its own.
  [[nodiscard]] std::string Format() const;
};

}  // namespace forkbox::http
