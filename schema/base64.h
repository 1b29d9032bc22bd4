// Base64 with padding (RFC 4648, section 4): how bytes that are no text travel in JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace forkbox::schema {

std::string EncodeBase64(std::string_view bytes);

// Strict: null for a wrong length, padding in the wrong place, any other character, or bits set
// that encode nothing.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace forkbox::schema
