// rm -rf, of trees of any depth, with two descriptors and no recursion.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace forkbox::execd {

// Plain files as well; what is not there is fine. Goes on where something resists and says the
// first trouble at the end. `cancelled` is asked now and then.
Result<void> RemoveTree(const std::string& path, const std::function<bool()>& cancelled);

}  // namespace forkbox::execd
