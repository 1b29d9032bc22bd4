// DriverSet: which drivers an installation has, by what they isolate with.
//
//   DriverSet drivers(process);                               // every installation has processes
//   drivers.Add(schema::Isolation::kVm, vm, is_coming);       // and some have virtual machines
//
//   Driver* driver = drivers.Of(execution.isolation);         // nullptr: not here
//
// A plain value that owns nothing: the drivers outlive all its copies. Thread-safe once it is
// filled.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "runner/sandbox/driver.h"
#include "schema/execution.h"

namespace forkbox::sandbox {

// Of a driver for a language, now.
enum class Readiness {
  kReady,   // a fork is to be had; or it was a moment ago, and all are taken
  kComing,  // it will be, in a while, without anybody doing anything about it: its template boots
  kNever,   // not before somebody sees to it
};

class DriverSet {
 public:
  // Any thread; must not block for long.
  using Tell = std::function<Readiness(const std::string& language)>;

  // NOLINTNEXTLINE(google-explicit-constructor): where there are only processes, the driver is all.
  DriverSet(Driver& process) { Add(schema::Isolation::kProcess, process); }

  // Without `tell` a driver counts as ready, and is never waited for.
  void Add(schema::Isolation isolation, Driver& driver, Tell tell = {}) {
    EntryOf(isolation) = {&driver, std::move(tell)};
  }

  [[nodiscard]] Driver* Of(schema::Isolation isolation) const { return EntryOf(isolation).driver; }
  [[nodiscard]] bool Tells(schema::Isolation isolation) const {
    return static_cast<bool>(EntryOf(isolation).tell);
  }
  [[nodiscard]] Readiness ReadinessOf(schema::Isolation isolation,
                                      const std::string& language) const {
    const Entry& entry = EntryOf(isolation);
    if (entry.driver == nullptr) return Readiness::kNever;
    return entry.tell ? entry.tell(language) : Readiness::kReady;
  }

 private:
  struct Entry {
    Driver* driver = nullptr;
    Tell tell;
  };
  static std::size_t Index(schema::Isolation isolation) {
    return isolation == schema::Isolation::kVm ? 1 : 0;
  }
  Entry& EntryOf(schema::Isolation isolation) { return entries_[Index(isolation)]; }
  [[nodiscard]] const Entry& EntryOf(schema::Isolation isolation) const {
    return entries_[Index(isolation)];
  }

  std::array<Entry, 2> entries_;
};

}  // namespace forkbox::sandbox
