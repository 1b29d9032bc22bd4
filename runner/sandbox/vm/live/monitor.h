// Monitor: the few words of QMP that a template needs of its own QEMU, over a socketpair that
// never leaves the process (qemu-qmp-ref(7)).
#pragma once

#include <string>

namespace forkbox::sandbox::vm {

// Greets, and has the machine stand still. "" or what went wrong. Waits as long as it takes.
std::string StopMachine(int socket);

// In the child: `place` is QEMU's end of the template's monitor. A new socket takes its place, in
// which it finds the order to run; the other end stays open, since a monitor whose peer is gone is
// closed at once, with what it has not read. Allocates nothing. False with errno set.
bool RenewMonitor(int place);

}  // namespace forkbox::sandbox::vm
