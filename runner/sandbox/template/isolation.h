// What turns a freshly forked copy of a template into a prisoner: entered namespaces and cgroups,
// its own session, streams and nothing else, limits, no credentials, seccomp. Every step is a
// plain system call; nothing allocates, so it is safe right after fork() in any runtime.
//
// Order matters and is the security of the whole: what needs privilege first, then the privilege
// goes for good, then the filter closes. See docs/security.md.
#pragma once

#include <linux/filter.h>

#include <cstddef>

#include "runner/sandbox/protocol.h"

namespace forkbox::sandbox {

// The cell's private disk. One tmpfs, so one size limit covers all three.
inline constexpr const char* kBoxPath = "/box";
inline constexpr const char* kWorkPath = "/box/work";

// Descriptors of the child after isolation: 0-2 and this one.
inline constexpr int kChildChannelFd = 3;

struct IsolationFailure {
  Stage stage = Stage::kNone;
  int error = 0;
};

// Drops from the template everything that its children will not need to isolate themselves: the
// whole bounding set, and all capabilities but the few that setns and setresuid take.
bool TrimTemplatePrivileges();

// In the child. `fds` are as in TemplateForkFd, `fd_count` of them. On success stage is kNone and
// only 0, 1, 2, kChildChannelFd and, behind it, the status socket are open. The process is not
// dumpable yet: its neighbours in a box, who have its uid, cannot look into it.
//
// With a `channel_place` of a descriptor that the template has open, the channel is put there, with
// the flags of what it replaces (as 0-2 then are), and kChildChannelFd is closed; everything else
// that the template had open stays so, but for its control socket and the filter.
IsolationFailure EnterCell(const TemplateFork& request, const int* fds, std::size_t fd_count,
                           const sock_fprog& filter, int channel_place = -1);

// Last: closes the status socket, and is dumpable from here on, since setresuid(2) has hidden the
// program's own /proc/self from it.
void BecomeVisible(int status_fd);

}  // namespace forkbox::sandbox
