// What QEMU's own threads run as.
#pragma once

namespace forkbox::sandbox::vm {

// The calling thread, and those that it makes from here on, are nobody and may nothing. Those that
// there are keep what they have: by the kernel's calls, since glibc's change all threads.
// False with errno set.
bool BecomeNobody();

}  // namespace forkbox::sandbox::vm
