// What a sandbox is asked to run by itself.
#pragma once

#include <string>
#include <vector>

namespace forkbox::sandboxes {

// Clients that only want a place to work in say so by an entrypoint that does nothing for ever
// ("tail -f /dev/null"), or by none. A box stands without one.
bool IsIdleEntrypoint(const std::vector<std::string>& argv);

// For `bash -c`, which looks the program up in PATH.
std::string EntrypointCommand(const std::vector<std::string>& argv);

}  // namespace forkbox::sandboxes
