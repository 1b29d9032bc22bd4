// Result<T>: a value or an Error, for what can go wrong without being a bug.
//
// Error means that *we* failed (disk full, peer gone, request refused). A user's program that
// fails is an Outcome, never an Error; a broken invariant is a CHECK and ends the process.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace forkbox {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input; the message names the field
  kUnauthenticated,  // no key, or not one of ours
  kNotFound,
  kConflict,
  kQueueFull,         // a bound was hit on purpose; retry later
  kUnavailable,       // a part we need is not there; retry later
  kDeadlineExceeded,  // unknown whether it took effect
  kInternal,
};
std::string_view ToString(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  Result() = default;
  Result(Base other) : Base(std::move(other)) {}  // NOLINT: an expected is a Result
};

inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> Fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// "what: strerror(errno)", as kInternal. For system calls; call it before errno can change.
tl::unexpected<Error> FailErrno(std::string_view what);

}  // namespace forkbox
