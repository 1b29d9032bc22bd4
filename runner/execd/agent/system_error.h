// What a system call's failure is to the one who asked: the system's words, as other tools say
// them: "open /box/work/x: no such file or directory".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::execd {

// Of errno: kNotFound for ENOENT and ESRCH, kInvalidArgument for names that are too long, else
// kInternal.
tl::unexpected<Error> FailSystem(std::string_view call, std::string_view path);
tl::unexpected<Error> FailSystem(std::string_view call, std::string_view path, int error);

// "no such file or directory"
std::string SystemWords(int error);

}  // namespace forkbox::execd
