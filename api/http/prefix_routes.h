// PrefixRoutes: which of several prefixes a path lies below.
//
// A segment of a prefix is a text, ":name" for any one segment, or "*" for one without a name;
// empty segments do not count, neither in prefixes nor in the part of a path that meets one. Filled
// by one thread before any Find(), which is thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/fields.h"

namespace forkbox::http {

class PrefixRoutes {
 public:
  struct Match {
    std::size_t id = 0;
    Fields params;            // {":name", value}, decoded
    std::string_view tail;    // of the path: "" or with its leading slash, not decoded
    bool bad_escape = false;  // in a segment that stands for a name; params are then incomplete
  };

  // False when there is one that matches the same paths.
  bool Add(std::string_view prefix, std::size_t id);
  // Of the prefixes that match the one with the most segments; of those the one with a text where
  // the others have a name.
  [[nodiscard]] std::optional<Match> Find(std::string_view path) const;

 private:
  struct Prefix {
    std::vector<std::string> segments;
    std::size_t id = 0;
  };
  static bool Before(const Prefix& a, const Prefix& b);

  std::vector<Prefix> prefixes_;  // in the order they are tried
};

}  // namespace forkbox::http
