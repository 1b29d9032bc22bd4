// The secret by which one sandbox is used: X-EXECD-ACCESS-TOKEN.
#pragma once

#include <string>
#include <string_view>

namespace forkbox::sandboxes {

// 256 bits of getrandom(2), as 64 hexadecimal digits.
std::string NewToken();

// Takes as long for every wrong text of the right length.
bool SameToken(std::string_view a, std::string_view b);

}  // namespace forkbox::sandboxes
