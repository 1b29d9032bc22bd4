// What a fork costs is what there is to write into the copy's page tables: one entry for a huge
// page, 512 for the small ones in its place. The guest's memory and its translated code are QEMU's
// own care; what it knows about that code is in heaps of small pages.
#pragma once

namespace forkbox::sandbox::vm {

// Once, when all is warm: puts memory of this process that is in dense use into huge pages. Where
// the kernel cannot (before Linux 6.1, or transparent_hugepage is "never"), forks are just slower.
void GatherIntoHugePages();

}  // namespace forkbox::sandbox::vm
