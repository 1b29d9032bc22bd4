#include "runner/sandbox/vm/live/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace forkbox::sandbox::vm {
namespace {

#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // Linux 6.1
#endif

constexpr std::uint64_t kHugePage = 2U << 20;

struct Area {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool writable = false;
  bool code = false;  // may be run as well
  std::uint64_t anonymous = 0;
  std::uint64_t huge = 0;

  // Of a stack a few pages are in use, and should stay few.
  [[nodiscard]] bool IsWorthIt() const {
    return writable && anonymous - huge >= kHugePage && anonymous * 2 > end - begin;
  }
};

// What a fork translates goes where nothing was yet. It is a few pages, for which two MiB would be
// cleared; huge pages that there are remain.
void KeepSmall(const Area& area) {
  (void)::madvise(reinterpret_cast<void*>(area.begin), area.end - area.begin, MADV_NOHUGEPAGE);
}

void Gather(const Area& area) {
  if (area.IsWorthIt()) {
    const std::uint64_t begin = (area.begin + kHugePage - 1) / kHugePage * kHugePage;
    for (std::uint64_t at = begin; at + kHugePage <= area.end; at += kHugePage) {
      (void)::madvise(reinterpret_cast<void*>(at), kHugePage, MADV_COLLAPSE);
    }
  }
  if (area.writable && area.code) KeepSmall(area);  // from here on
}

}  // namespace

// smaps as of proc(5): "begin-end rwxp …", then "Anonymous:  12 kB" and the like.
void GatherIntoHugePages() {
  std::ifstream smaps("/proc/self/smaps");
  Area area;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    unsigned long kib = 0;
    char permissions[5] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) == 3) {
      Gather(area);
      area = {.begin = begin,
              .end = end,
              .writable = permissions[1] == 'w',
              .code = permissions[2] == 'x'};
    } else if (std::sscanf(line.c_str(), "Anonymous: %lu kB", &kib) == 1) {
      area.anonymous = std::uint64_t{kib} << 10;
    } else if (std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kib) == 1) {
      area.huge = std::uint64_t{kib} << 10;
    }
  }
  Gather(area);
}

}  // namespace forkbox::sandbox::vm
