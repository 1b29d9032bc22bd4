// ArtefactCache: what was compiled before, by what it was compiled from.
//
// The key covers everything that a compile can see, so a hit gives what the same source would have
// given, to whomever it is given. Kept in memory: nothing to verify, nothing that outlives an
// upgrade of the toolchain. Bounded in bytes; the least recently used go first.
//
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runner/sandbox/compiler.h"

namespace forkbox::sandbox {

struct ArtefactCacheStats {
  std::uint64_t hits = 0;    // also of those who waited for another's compile
  std::uint64_t misses = 0;  // compiles made
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

class ArtefactCache {
 public:
  explicit ArtefactCache(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  using Make = std::function<Compiled()>;
  // What is kept under `key`, or what `make` returns: called once for all who ask for the same key
  // at the same time, unless it was cancelled. Only what the source alone decides is
  // kept (a program, or an error in it): not a limit that was met. `hit` says that it was not our
  // own `make`. nullptr when `cancelled` asked while another one's compile was waited for.
  std::shared_ptr<const Compiled> Get(const std::string& key, const std::stop_token& cancelled,
                                      const Make& make, bool* hit);

  [[nodiscard]] ArtefactCacheStats Stats() const;

 private:
  // One compile that is being made, and whoever waits for it.
  struct Flight {
    bool landed = false;
    std::shared_ptr<const Compiled> compiled;  // null: not for others, who make it themselves
  };
  struct Entry {
    std::shared_ptr<const Compiled> compiled;  // null while it is being made
    std::shared_ptr<Flight> flight = std::make_shared<Flight>();
    std::uint64_t bytes = 0;
    std::list<std::string>::iterator use;  // valid when made
  };
  void Keep(const std::string& key, Entry* entry, std::shared_ptr<const Compiled> compiled);

  const std::uint64_t max_bytes_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable_any changed_;
  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> uses_;  // of made entries, the latest first
  ArtefactCacheStats stats_;
};

// The key of a compile: a SHA-256 of what makes the program (`toolchain`: its version, command and
// whatever else is the same for every source of a language), the code, the entry and all files.
// Empty when there is no digest to be had; then nothing may be cached.
std::string ArtefactKey(std::string_view toolchain, const schema::Source& source);

}  // namespace forkbox::sandbox
