#include "api/json_type.h"

#include <algorithm>

namespace forkbox::api {

bool IsJsonType(const std::string* content_type) {
  if (content_type == nullptr) return false;
  std::string type = content_type->substr(0, content_type->find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::ranges::transform(type, type.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (!type.starts_with("application/")) return false;
  return type == "application/json" || type.ends_with("+json");
}

}  // namespace forkbox::api
