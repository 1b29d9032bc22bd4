// BaseDisk: what an image has from Debian, as it is kept from one build to the next: making it
// takes root, a network and a minute or two, while all the rest is made of files that are here.
//
// A folder named after its recipe: the hash of the script that makes it (scripts/vm-base.sh), which
// says release, packages and options. What lies there is checked by its hashes before it is used.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

struct BaseDisk {
  std::string folder;  // with kBaseDisk and kKernelFile in it
  std::string recipe;  // hex SHA-256
  std::string kernel;  // release
  std::map<std::string, std::string> packages;
  std::vector<std::string> modules;  // paths, in the order in which they are loaded

  static Result<std::string> Recipe(const std::string& script);
  // kNotFound when there is none in the folder `cache`, or it is damaged.
  static Result<BaseDisk> Find(const std::string& cache, const std::string& recipe);
  // Makes it, in place of another of the same recipe; of those of other recipes two stay,
  // and what is not named like a recipe is left alone. The caller holds the cache's lock.
  // kUnavailable with the reason: no root, no network (which names the mirror), missing programs.
  static Result<BaseDisk> Make(const std::string& cache, const std::string& recipe,
                               const std::string& script,
                               const std::function<void(std::string_view)>& on_step,
                               const std::function<bool()>& stopped);

  // Go links only what the same version has compiled: kUnavailable, with what mends it, when the
  // standard library of a runtime folder is of another one than the compiler here.
  [[nodiscard]] Result<void> CheckGo(const std::string& runtime_dir) const;
};

}  // namespace forkbox::sandbox::vm
