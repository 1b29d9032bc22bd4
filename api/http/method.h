// The request methods the server knows; any other is answered 501.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace forkbox::http {

enum class Method { kGet, kHead, kPost, kPut, kPatch, kDelete, kOptions };

inline constexpr std::array<std::pair<Method, std::string_view>, 7> kMethodNames{{
    {Method::kGet, "GET"},
    {Method::kHead, "HEAD"},
    {Method::kPost, "POST"},
    {Method::kPut, "PUT"},
    {Method::kPatch, "PATCH"},
    {Method::kDelete, "DELETE"},
    {Method::kOptions, "OPTIONS"},
}};

constexpr std::string_view ToString(Method method) {
  for (const auto& [value, name] : kMethodNames) {
    if (value == method) return name;
  }
  return "?";
}

constexpr std::optional<Method> ParseMethod(std::string_view name) {  // case matters: RFC 9110, 9.1
  for (const auto& [value, text] : kMethodNames) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace forkbox::http
