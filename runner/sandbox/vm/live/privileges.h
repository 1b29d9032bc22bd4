// What QEMU's own threads run as.
#pragma once

namespace forkbox::sandbox::vm {

// The calling thread, and those that it makes from here on, are `uid` and may nothing. Those that
// there are keep what they have: by the kernel's calls, since glibc's change all threads. A user of
// its own: any other process of the same could kill them, and with them all machines.
// 0: in a user namespace with one id, which is kept. False with errno set.
bool GiveUpPrivileges(unsigned uid);

}  // namespace forkbox::sandbox::vm
