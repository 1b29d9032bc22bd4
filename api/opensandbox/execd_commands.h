// What runs as a shell command of a box, whichever request asked for it.
#pragma once

#include "api/opensandbox/execd_call.h"
#include "runner/execd/commands.h"

namespace forkbox::api {

// Runs it and answers the call with its events, or with a refusal when it could not begin.
void StreamExecdCommand(ExecdCall& call, const execd::CommandRequest& request, bool background);

}  // namespace forkbox::api
