// Header fields in the order they came, duplicates kept.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forkbox::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

// ASCII case is ignored, as in field names.
bool EqualIgnoringCase(std::string_view a, std::string_view b);

// The value of the first field of that name in any case; nullptr when there is none.
const std::string* FindField(const Fields& fields, std::string_view name);

}  // namespace forkbox::http
