#include "api/http/fields.h"

#include <algorithm>

namespace forkbox::http {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

const std::string* FindField(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (EqualIgnoringCase(key, name)) return &value;
  }
  return nullptr;
}

}  // namespace forkbox::http
