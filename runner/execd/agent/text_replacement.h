// Files::Replace, done by this process.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "runner/execd/agent/account_names.h"
#include "runner/execd/agent/staged_file.h"

namespace forkbox::execd {

// In what `staged` will replace. kNotFound; kInvalidArgument when the file is too large, or would
// be; kInternal for what is no file.
Result<std::uint64_t> ReplaceText(StagedFile& staged, std::string_view old_text,
                                  std::string_view new_text, const AccountNames& names);

}  // namespace forkbox::execd
