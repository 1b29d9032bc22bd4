// FORKBOX_CHECK(condition): a broken invariant is a bug of ours and ends the process with its
// place.
#pragma once

#include <cstdio>
#include <cstdlib>

#define FORKBOX_CHECK(condition)                                                         \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
