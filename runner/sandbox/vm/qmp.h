// QMP: what QEMU is told over its monitor socket (docs/interop/qmp-spec.rst of QEMU). A small
// client: one command at a time, its answer, and events that are waited for.
//
// QEMU is in a cell, and after a program has run in its machine as little to be trusted as that
// program: a line, and all that is read in one call, is bounded; every wait has a deadline. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace forkbox::sandbox::vm {

// One line, to be sent ahead of answers that nobody waits for.
std::string QmpCommand(std::string_view command, const nlohmann::json& arguments = nullptr);

class Qmp {
 public:
  static constexpr std::size_t kMaxLine = 64U << 10;
  static constexpr std::size_t kMaxLinesPerCall = 256;

  // The socket is the caller's, a stream, and outlives it.
  explicit Qmp(int socket) : socket_(socket) {}

  // Takes QEMU's greeting and gets it to listen to commands.
  Result<void> Greet(Deadline deadline);
  // The answer's "return". kInternal for an answer that is an error, with QEMU's words;
  // kUnavailable when QEMU is gone or speaks something else; kDeadlineExceeded.
  // A descriptor goes with the command, as getfd wants it.
  Result<nlohmann::json> Execute(std::string_view command, const nlohmann::json& arguments,
                                 Deadline deadline, std::optional<int> fd = std::nullopt);
  // The "data" of the next event of that name. Whatever else comes before it is skipped, but for
  // an answer that is an error, to a command that was sent ahead: that is kInternal.
  Result<nlohmann::json> AwaitEvent(std::string_view name, Deadline deadline);

 private:
  Result<nlohmann::json> ReadObject(Deadline deadline);

  const int socket_;
  std::string held_;  // read, but not yet a line
  std::uint32_t last_id_ = 0;
};

}  // namespace forkbox::sandbox::vm
