// What the command line of a live template and the library in it agree on.
#pragma once

namespace forkbox::sandbox::vm {

// Inside the root of machines.
inline constexpr const char* kLiveLibraryPath = "/opt/forkbox-vm/libforkbox_vm_live.so";

// QEMU's ends of the sockets to the guest's agent and for QMP (MachineFds). The library makes them
// at these numbers, out of the way of what QEMU opens by itself, and keeps the other ends.
inline constexpr int kLiveAgentFd = 40;
inline constexpr int kLiveMonitorFd = 41;

// After -sandbox. QEMU's filter reaches every thread of the process, and so the one that forks and
// makes prisoners of its forks: that one makes processes and enters namespaces ("spawn"), starts
// sessions and changes users ("elevateprivileges"). QEMU's own threads have no privilege to do any
// of it with, and the forks a filter of their own that knows no such calls.
inline constexpr const char* kLiveSandbox =
    "on,obsolete=deny,elevateprivileges=allow,spawn=allow,resourcecontrol=deny";

}  // namespace forkbox::sandbox::vm
