// UTF-8 for text that others wrote: what a program prints need not be text at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace forkbox::schema {

bool IsValidUtf8(std::string_view bytes);

// `bytes` with each maximal ill-formed subpart replaced by one U+FFFD, as the WHATWG Encoding
// Standard and Unicode 15 (3.9, "U+FFFD substitution of maximal subparts") have it, so that every
// decoder agrees on the count. NUL is a character like any other. Valid text is handed back
// unchanged and uncopied; else the result is at most three times as long.
std::string ToValidUtf8(std::string bytes);

// How many bytes at the end of `bytes` begin a character that is not complete: 0 to 3. Whoever
// cuts text, or forwards it in chunks, holds these back.
std::size_t IncompleteUtf8Suffix(std::string_view bytes);

}  // namespace forkbox::schema
