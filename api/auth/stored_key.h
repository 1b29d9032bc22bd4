// The text of a key that is kept in the store: "exec0_" and 32 random letters and digits.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::api {

// About 190 bits of chance from getrandom(2), every character as likely as any other.
Result<std::string> NewStoredKey();

// Whether it could be one; what could not need not be looked for.
bool LooksLikeStoredKey(std::string_view key);

// What may be shown of it, to recognise it by: its first ten characters.
std::string_view PrefixOfKey(std::string_view key);

}  // namespace forkbox::api
