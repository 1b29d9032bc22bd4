#include "api/opensandbox/lifecycle_query.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace forkbox::api {

std::optional<std::uint32_t> PageNumber(const http::Call& call, const char* name,
                                        std::uint32_t otherwise, std::uint32_t most) {
  std::string text;
  if (!call.Query(name, &text)) return otherwise;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1 || number > most) {
    return std::nullopt;
  }
  return number;
}

std::vector<std::string> Queries(const http::Call& call, std::string_view name) {
  std::vector<std::string> values;
  std::string_view query = call.raw_query;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const auto equals = pair.find('=');
    std::string key;
    std::string value;
    if (equals != std::string_view::npos &&
        http::PercentDecode(pair.substr(0, equals), true, &key) && key == name &&
        http::PercentDecode(pair.substr(equals + 1), true, &value)) {
      values.push_back(std::move(value));
    }
  }
  return values;
}

}  // namespace forkbox::api
