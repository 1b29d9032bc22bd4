// Where the keys are, for the server that reads them and the command that makes them.
#pragma once

#include <optional>
#include <string>

namespace forkbox::cli {

// `chosen` (flag, FORKBOX_KEYS_FILE), else ZEROBOOT_API_KEYS_FILE, else api_keys.json of the
// working directory, else of the data directory; null when there is none.
std::optional<std::string> FindKeyFilePath(const std::string& chosen, const std::string& data_dir);

}  // namespace forkbox::cli
