// What a compile's child answered, read as bytes from a stranger.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::sandbox {

// The files of an answer to a compile whose artefacts were to be at `paths` (as in
// languages::CompileStep::artefacts). Every file is at one of them or inside one that is a folder;
// whatever else the answer says is kInvalidArgument, in words for whoever wrote the source.
Result<std::vector<schema::SourceFile>> ReadArtefacts(std::string_view answer, bool cut,
                                                      const std::vector<std::string>& paths);

// Whether a program and the files beside it are within kMaxProgramBytes.
bool FitsIntoSandbox(const schema::Source& program);

}  // namespace forkbox::sandbox
