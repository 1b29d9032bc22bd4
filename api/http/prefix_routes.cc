#include "api/http/prefix_routes.h"

#include <algorithm>
#include <utility>

#include "api/http/call.h"

namespace forkbox::http {
namespace {

// The next segment that is not empty, which is dropped from *path; empty at the end.
std::string_view TakeSegment(std::string_view* path) {
  path->remove_prefix(std::min(path->find_first_not_of('/'), path->size()));
  const std::string_view segment = path->substr(0, path->find('/'));
  path->remove_prefix(segment.size());
  return segment;
}

// A text goes first, then a name, then "*".
int Rank(std::string_view segment) {
  if (segment == "*") return 2;
  return segment.front() == ':' ? 1 : 0;
}

}  // namespace

bool PrefixRoutes::Before(const Prefix& a, const Prefix& b) {
  if (a.segments.size() != b.segments.size()) return a.segments.size() > b.segments.size();
  for (std::size_t i = 0; i < a.segments.size(); ++i) {
    const int rank_a = Rank(a.segments[i]);
    const int rank_b = Rank(b.segments[i]);
    if (rank_a != rank_b) return rank_a < rank_b;
    if (rank_a != 0) continue;
    if (a.segments[i] != b.segments[i]) return a.segments[i] < b.segments[i];
  }
  return false;
}

bool PrefixRoutes::Add(std::string_view prefix, std::size_t id) {
  Prefix added;
  added.id = id;
  for (std::string_view segment = TakeSegment(&prefix); !segment.empty();
       segment = TakeSegment(&prefix)) {
    added.segments.emplace_back(segment);
  }
  const auto place = std::lower_bound(prefixes_.begin(), prefixes_.end(), added, Before);
  if (place != prefixes_.end() && !Before(added, *place)) return false;
  prefixes_.insert(place, std::move(added));
  return true;
}

std::optional<PrefixRoutes::Match> PrefixRoutes::Find(std::string_view path) const {
  for (const Prefix& prefix : prefixes_) {
    Match match;
    match.id = prefix.id;
    match.tail = path;
    std::string value;
    const bool below =
        std::all_of(prefix.segments.begin(), prefix.segments.end(), [&](const std::string& wanted) {
          const std::string_view segment = TakeSegment(&match.tail);
          if (segment.empty()) return false;
          if (Rank(wanted) == 0) return segment == wanted;
          if (Rank(wanted) == 2) return true;
          if (!PercentDecode(segment, false, &value)) match.bad_escape = true;
          match.params.emplace_back(wanted, value);
          return true;
        });
    if (below) return match;
  }
  return std::nullopt;
}

}  // namespace forkbox::http
