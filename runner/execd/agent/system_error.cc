#include "runner/execd/agent/system_error.h"

#include <cctype>
#include <cerrno>
#include <cstring>

namespace forkbox::execd {

tl::unexpected<Error> FailSystem(std::string_view call, std::string_view path) {
  return FailSystem(call, path, errno);
}

tl::unexpected<Error> FailSystem(std::string_view call, std::string_view path, int error) {
  ErrorCode code = ErrorCode::kInternal;
  if (error == ENOENT || error == ESRCH) code = ErrorCode::kNotFound;
  if (error == ENAMETOOLONG) code = ErrorCode::kInvalidArgument;
  std::string message(call);
  if (!path.empty()) (message += ' ') += path;
  return Fail(code, message + ": " + SystemWords(error));
}

std::string SystemWords(int error) {
  std::string words = ::strerror(error);
  // "Is a directory", but "RFS specific error" keeps its letters.
  if (words.size() > 1 && std::islower(static_cast<unsigned char>(words[1])) != 0) {
    words[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(words[0])));
  }
  return words;
}

}  // namespace forkbox::execd
