// ServeForks: what every runtime calls when it is ready to be copied.
//
// A template is a language runtime (stock python3, stock node, or the small exec template) started
// by the forkserver inside the sandbox root, with this library loaded as an extension module. It
// runs trusted warm-up code only. ServeForks blocks in the template for its whole life: over the
// socket at kTemplateControlFd the forkserver asks it to fork a child into a prepared cell
// (namespaces, cgroups, mounts, standard streams); it tells the driver how each child ended. The
// template parses nothing from outside: requests are fixed-size structs from the forkserver.
//
// The call returns in a child only, once the child is inside its cell and has given up every
// privilege (uid, capabilities, no_new_privs, seccomp, rlimits, own session; fds 0-2 and the
// channel are all it has). The child then reads its job from the channel, which comes from the
// unprivileged worker. One thread; other threads of the runtime must survive fork() by themselves.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forkbox::sandbox {

// Inherited by the template from the forkserver: SOCK_SEQPACKET, fork requests in.
inline constexpr int kTemplateControlFd = 3;
// A memory file with the compiled seccomp program (struct sock_filter[]).
inline constexpr int kTemplateFilterFd = 4;
// In the environment of a template of machines, where there are users to choose from: the uid for
// what of it needs no privilege, which nobody on the host has.
inline constexpr const char* kTemplateUidVariable = "FORKBOX_TEMPLATE_UID";

struct ForkHooks {
  std::function<void()> before_fork;        // in the template, right before each fork
  std::function<void()> after_fork_parent;  // in the template, right after
  std::function<void()> after_fork_child;   // in the child, first thing, still privileged
  // The child is killed as soon as nobody holds the other end of its standard input any more, even
  // while it is stopped; and it never lets its neighbours in a box, who have its uid, look into it.
  bool leashed = false;
  // In place of fork(2), and answers as it does. The child may be a thread's copy alone.
  std::function<pid_t()> fork;
  // A descriptor of the runtime: the child's channel replaces it and all others stay open (see
  // EnterCell()). Nobody ever looks into such a child. -1: it has 0-2 and the channel, as above.
  int channel_place = -1;
};

// In the child: the descriptor of its channel. Never returns in the template; it exits the
// process when the forkserver goes away. Tells the forkserver "ready" before the first wait.
int ServeForks(const ForkHooks& hooks);

// The job as the child sees it.
struct ChildJob {
  // The first three are those of schema::EntryKind. kSession is a process that keeps its channel
  // and talks over it for as long as it lives; its code is not written to a file.
  enum class Entry : std::uint32_t {
    kScript = 0,
    kFunction = 1,
    kCell = 2,
    kCompile = 3,
    kSession = 4,
  };
  Entry entry = Entry::kScript;
  std::string file_name;  // the entry file, written in the working directory: "main.py"
  std::string code;
  std::vector<std::string> args;     // of the program, without its name
  std::vector<std::string> command;  // exec template only: the whole argv; empty elsewhere
  std::vector<std::pair<std::string, std::string>> env;  // the whole environment
  std::vector<std::string> artefacts;  // of a compile: what is to be sent back when it succeeded
  std::string cwd;                     // where it is to be, absolute; "" for the work directory
  // The machine was copied since this process was forked: its generators of random numbers must
  // draw anew from the kernel before the program runs. It ends with the program: AnnounceExit().
  bool reseed = false;
};

// Waits for the job on `channel` and writes its code and files into the working directory, which
// is the current one; then enters `cwd`. Closes the channel for script entries, whose result is
// their exit. Exits the process if the peer goes away first, a pooled fork that nobody wanted, and
// with 126 and a line on stderr if there is no entering `cwd`.
ChildJob ReceiveJob(int channel);

// In the child of a script, when all of the program is over and its output on its way: if the job
// was to reseed, tells the exit code and waits to be killed, which saves taking the process down.
// Returns otherwise, also in what the program forked and when it has closed the descriptor: the
// process is then to exit as ever.
void AnnounceExit(int exit_code);

// In the child of a function or compile: says `answer`, an AnswerKind (job_wire.h) and what
// belongs to it, and closes the channel. A worker that has gone away is no error of the program's.
void SendAnswer(int channel, std::string_view answer);

}  // namespace forkbox::sandbox
