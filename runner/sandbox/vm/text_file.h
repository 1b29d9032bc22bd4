// Whole files as text, small ones: what describes an image and its parts.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace forkbox::sandbox::vm {

// kUnavailable when it cannot be read to its end, or is not there.
Result<std::string> ReadText(const std::filesystem::path& path);

// Of mode 0644, whatever the umask. kUnavailable when not all of it was written.
Result<void> WriteText(const std::filesystem::path& path, const std::string& text);

}  // namespace forkbox::sandbox::vm
