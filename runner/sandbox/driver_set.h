// DriverSet: which drivers an installation has, by what they isolate with.
//
//   DriverSet drivers(process);                          // every installation has processes
//   drivers.Add(schema::Isolation::kVm, vm, [&vm](const auto& language) { … }); // and some have
//   virtual machines Driver* driver = drivers.Of(execution.isolation);    // nullptr: not here
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

class DriverSet {
 public:
  // Whether a driver that is kUnavailable for a language now will have it in a while, without
  // anybody doing anything about it: its template boots. Any thread; must not block for long.
  using IsComing = std::function<bool(const std::string& language)>;

  // NOLINTNEXTLINE(google-explicit-constructor): where there are only processes, the driver is all.
  DriverSet(Driver& process) { Add(schema::Isolation::kProcess, process); }

  // Without `is_coming` a driver that is kUnavailable is never waited for.
  void Add(schema::Isolation isolation, Driver& driver, IsComing is_coming = {}) {
    EntryOf(isolation) = {&driver, std::move(is_coming)};
  }

  [[nodiscard]] Driver* Of(schema::Isolation isolation) const { return EntryOf(isolation).driver; }
  [[nodiscard]] bool IsWorthWaitingFor(schema::Isolation isolation,
                                       const std::string& language) const {
    const Entry& entry = EntryOf(isolation);
    return entry.is_coming && entry.is_coming(language);
  }

 private:
  struct Entry {
    Driver* driver = nullptr;
    IsComing is_coming;
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
