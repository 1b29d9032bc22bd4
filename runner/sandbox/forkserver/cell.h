// A cell: fresh pid, mount, ipc, uts and network namespaces with a tiny init as pid 1, and the
// private disk that comes with them. A template forks a program into it; killing the init kills
// everything inside (pid_namespaces(7)).
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox {

// The most terminals that can be open in one.
inline constexpr unsigned kCellTerminals = 64;

// Where people and their programs expect to be able to write. In a box each is a folder of the same
// private disk, "/box" and its name; elsewhere they are empty and read-only.
inline constexpr const char* kHomelyFolders[] = {"/workspace", "/home", "/root", "/var",
                                                 "/srv",       "/mnt",  "/data", "/app"};

struct CellOptions {
  std::uint32_t uid = 0;       // owner of the private disk, the program's later uid
  std::uint32_t init_uid = 0;  // what pid 1 becomes; a program can then neither signal nor read it
  std::uint64_t disk_bytes = 0;
  bool privileged = true;
  bool standing = false;   // a box: with terminals, and with kHomelyFolders for its user
  int net_namespace = -1;  // one to enter, with its loopback up; -1: make one
};

struct Cell {
  pid_t init_pid = -1;
  UniqueFd init_pidfd;
};

// Clones the init and waits until its namespaces are furnished. On an error nothing is left.
Result<Cell> MakeCell(const CellOptions& options);

}  // namespace forkbox::sandbox
