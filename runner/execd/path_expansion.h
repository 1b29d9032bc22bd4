// "$NAME", "${NAME}" and a leading "~" in paths that clients send (reference 1.5).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::execd {

using Environment = std::map<std::string, std::string>;

// kInvalidArgument: "path references undefined environment variables: A,B". What is no such form,
// like "$1", stays as it is.
Result<std::string> ExpandPath(std::string_view path, const Environment& environment);

// "/a//b/../c" → "/a/c"; a relative path is below `base`. Never above the root.
std::string CleanPath(std::string_view path, std::string_view base);

}  // namespace forkbox::execd
