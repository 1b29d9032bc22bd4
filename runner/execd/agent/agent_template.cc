// The template of the file agent: forks into a cell, then does there, as the cell's own user, what
// it is asked over its channel. It never becomes another program, so it is started in the time of
// a fork.

#include <sys/prctl.h>

#include "runner/execd/agent/request_loop.h"
#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/template/isolation.h"

int main() {
  const int channel = forkbox::sandbox::ServeForks({});
  // What runs beside it under the same user must not look into it, or take its channel.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  (void)forkbox::sandbox::ReceiveJob(channel);
  forkbox::execd::ServeRequests({.channel = channel, .work_path = forkbox::sandbox::kWorkPath});
  return 0;
}
