// What a compiler has made, read to be sent back: in the child, after the compiler has ended. The
// files are those of a stranger's: only regular files are taken, through no symbolic link, and no
// more of them than the bounds say.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace forkbox::sandbox {

// Paths as in languages::CompileStep::artefacts. The answer to send: an AnswerKind and its text.
std::string CollectArtefacts(const std::vector<std::string>& paths);

}  // namespace forkbox::sandbox
