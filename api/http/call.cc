#include "api/http/call.h"

#include <algorithm>

namespace forkbox::http {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::size_t kMaxRequestIdLength = 128;

}  // namespace

bool PercentDecode(std::string_view text, bool plus_is_blank, std::string* decoded) {
  decoded->clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (text.size() - i < 3) return false;
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return false;
      decoded->push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      decoded->push_back(plus_is_blank && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return true;
}

bool IsRequestId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdLength &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == ':' || c == '-';
         });
}

const std::string* Call::Header(std::string_view name) const { return FindField(fields, name); }

std::string Call::Param(std::string_view name) const {
  for (const auto& [key, value] : params) {
    if (key == name) return value;
  }
  return {};
}

bool Call::Answer(int status, std::string_view content_type, std::string_view answer_body,
                  const Fields& headers) {
  if (taken == nullptr) return reply.Send(status, content_type, answer_body, headers);
  return taken->Answer(status, content_type, answer_body, headers).has_value();
}

bool Call::Query(std::string_view name, std::string* value) const {
  std::string_view rest = raw_query;
  std::string decoded;
  while (!rest.empty()) {
    const std::size_t ampersand = rest.find('&');
    const std::string_view pair = rest.substr(0, ampersand);
    rest = ampersand == std::string_view::npos ? std::string_view() : rest.substr(ampersand + 1);
    const std::size_t equals = pair.find('=');
    if (!PercentDecode(pair.substr(0, equals), true, &decoded) || decoded != name) continue;
    const std::string_view raw =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    if (!PercentDecode(raw, true, &decoded)) continue;
    *value = std::move(decoded);
    return true;
  }
  return false;
}

}  // namespace forkbox::http
