// Names that mean what a test says: this file's getaddrinfo() takes the place of the C library's
// for the whole program, so libcurl resolves by it, on its own threads, as it always does.
#pragma once

#include <string>
#include <vector>

namespace forkbox::tests {

// From now on `name` resolves to these addresses, in this order.
void SetName(const std::string& name, std::vector<std::string> addresses);

// From now on, until LetNamesGo(), nobody ever learns what `name` resolves to.
void HangName(const std::string& name);
void LetNamesGo();

}  // namespace forkbox::tests
