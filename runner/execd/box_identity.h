// BoxIdentity: which user the programs of a box are, for requests that ask for one. There is only
// this one to be had: nothing in a box may change its user.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "runner/sandbox/box.h"

namespace forkbox::execd {

class BoxIdentity {
 public:
  explicit BoxIdentity(sandbox::Box& box) : box_(box) {}

  // True: a program of that user and group is one that the box starts anyway. Asks in the box, the
  // first time that somebody wants to know.
  bool Allows(const std::optional<std::uint32_t>& uid, const std::optional<std::uint32_t>& gid);

 private:
  struct Ids {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
  };
  std::optional<Ids> Ask();

  sandbox::Box& box_;
  std::mutex mutex_;
  std::optional<Ids> ids_;  // by mutex_
};

}  // namespace forkbox::execd
