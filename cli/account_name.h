// The name of an account, as the command line takes it.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace forkbox::cli {

inline constexpr const char* kDefaultAccount = "default";

// 1 to 128 of A-Z a-z 0-9 . _ - @ :
inline bool IsAccountName(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("._-@:").find(c) != std::string_view::npos;
  });
}

}  // namespace forkbox::cli
