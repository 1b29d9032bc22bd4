// ServeForks: what every warmed runtime calls when it is ready to be copied.
//
// A template is a language runtime (stock python3, stock node) started by the forkserver inside
// the sandbox root, with this library loaded as an extension module. It runs trusted warm-up code
// only. ServeForks blocks in the template for its whole life: the forkserver asks it, over the
// socket at kTemplateControlFd, to fork a child into a prepared cell (namespaces, cgroups, mounts,
// standard streams), and to say how each child ended. The template parses nothing from outside:
// requests are fixed-size structs from the forkserver.
//
// The call returns in a child only, once the child is inside its cell and has given up every
// privilege (uid, capabilities, no_new_privs, seccomp, rlimits, own session, fds 0-2 and the
// channel). The child then reads its job from the channel, which comes from the unprivileged
// worker. Single-threaded as far as the caller can help it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace forkbox::sandbox {

// Inherited by the template from the forkserver: SOCK_SEQPACKET, fork requests in, exits out.
inline constexpr int kTemplateControlFd = 3;

struct ForkHooks {
  std::function<void()> before_fork;       // in the template, right before each fork
  std::function<void()> after_fork_parent;  // in the template, right after
  std::function<void()> after_fork_child;  // in the child, first thing, still privileged
};

// In the child: the descriptor of its channel. Never returns in the template; it exits the
// process when the forkserver goes away. Sends "ready" to the forkserver before the first wait.
int ServeForks(const ForkHooks& hooks);

// The job as the child sees it.
struct ChildJob {
  enum class Entry : std::uint8_t { kScript = 0, kFunction = 1, kCell = 2 };
  Entry entry = Entry::kScript;
  std::string file_name;  // the entry file, written in the working directory: "main.py"
  std::string code;
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;  // the whole environment
};

// Waits for the job on `channel`, writes its code and files into the working directory (already
// the current one), and closes the channel unless the entry needs it for its value. Exits the
// process if the peer goes away first: a pooled fork that nobody wants.
ChildJob ReceiveJob(int channel);

}  // namespace forkbox::sandbox
