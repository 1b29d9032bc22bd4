// Guest: the agent's first and only word in a template.
#pragma once

#include <string>

namespace forkbox::sandbox::vm {

// Waits until the agent says that it is ready; "". Else why it is not, in one line. Waits as long
// as it takes: whoever wants the template knows for how long.
std::string AwaitGuest(int socket);

}  // namespace forkbox::sandbox::vm
