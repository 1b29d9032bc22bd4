// BoxIdentity: which user the programs of a box are, for requests that ask for one. There is only
// this one to be had: nothing in a box may change its user.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "runner/execd/files.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class BoxIdentity {
 public:
  // Both must outlive it. `patience` is for the whole answer.
  BoxIdentity(sandbox::Box& box, Files& files,
              std::chrono::milliseconds patience = std::chrono::seconds(10))
      : box_(box), files_(files), patience_(patience) {}

  // True: a program of that user and group is one that the box starts anyway. Asks in the box, the
  // first time that somebody wants to know; false as well while a box gives no answer, in which
  // there is never more than one process that was asked.
  bool Allows(const std::optional<std::uint32_t>& uid, const std::optional<std::uint32_t>& gid);

 private:
  struct Ids {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
  };
  std::optional<Ids> Ask();
  static std::optional<Ids> Read(int pipe, Deadline deadline);

  sandbox::Box& box_;
  Files& files_;
  const std::chrono::milliseconds patience_;
  std::mutex mutex_;
  std::optional<Ids> ids_;         // by mutex_, as all below
  std::optional<Deadline> again_;  // after a failure: not asked again before
  UniqueFd asked_;                 // the status of one that has not answered and may live
};

}  // namespace forkbox::execd
