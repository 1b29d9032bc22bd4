// The template of the file agent: forks into a cell, then does there, as the cell's own user, what
// it is asked over its channel. It never becomes another program, so it is started in the time of
// a fork.

#include "runner/execd/agent/request_loop.h"
#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/template/isolation.h"

int main() {
  // What runs beside it under the same user must not look into it, or take its channel; and whoever
  // gives it up lets go of its standard input, by which it ends, be it stopped.
  forkbox::sandbox::ForkHooks hooks;
  hooks.leashed = true;
  const int channel = forkbox::sandbox::ServeForks(hooks);
  (void)forkbox::sandbox::ReceiveJob(channel);
  forkbox::execd::ServeRequests({.channel = channel, .work_path = forkbox::sandbox::kWorkPath});
  return 0;
}
