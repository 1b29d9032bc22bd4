#include "runner/execd/commands_program.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace forkbox::execd {
namespace {

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

tl::unexpected<Error> TooLong(const std::string& field, std::size_t bytes) {
  return Fail(ErrorCode::kInvalidArgument,
              field + " must have at most " + std::to_string(bytes) + " bytes");
}

Result<void> CheckEnvironment(const Environment& env) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : env) {
    if (name.empty() || HasNul(name) || name.find('=') != std::string::npos || HasNul(value)) {
      return Fail(ErrorCode::kInvalidArgument, "envs has a name or value that cannot be had");
    }
    const std::size_t one = name.size() + 1 + value.size();
    if (one > kMaxCommandBytes) return TooLong("a variable of envs", kMaxCommandBytes);
    bytes += one;
  }
  if (bytes > kMaxEnvironmentBytes) return TooLong("envs", kMaxEnvironmentBytes);
  return {};
}

}  // namespace

std::string CommandText(const CommandRequest& request) {
  if (request.argv.empty()) return request.command;
  std::string text;
  for (const std::string& word : request.argv) text += (text.empty() ? "" : " ") + word;
  return text;
}

Result<void> CheckCommand(const CommandRequest& request) {
  if (request.command.empty() == request.argv.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "exactly one of command and argv is required");
  }
  if (HasNul(request.command)) {
    return Fail(ErrorCode::kInvalidArgument, "command must not contain NUL bytes");
  }
  if (request.command.size() > kMaxCommandBytes) return TooLong("command", kMaxCommandBytes);
  if (std::ranges::any_of(request.argv, HasNul)) {
    return Fail(ErrorCode::kInvalidArgument, "argv must not contain NUL bytes");
  }
  if (!request.argv.empty() && request.argv.front().empty()) {
    return Fail(ErrorCode::kInvalidArgument, "argv[0] must not be empty");
  }
  std::size_t bytes = 0;
  for (const std::string& word : request.argv) bytes += word.size() + 1;
  if (bytes > kMaxCommandBytes + 1) return TooLong("argv", kMaxCommandBytes);
  return CheckEnvironment(request.env);
}

sandbox::BoxProgram ProgramFor(const CommandRequest& request, bool merged) {
  std::vector<std::string> argv = request.argv;
  if (argv.empty()) argv = {"/bin/bash", "-c", request.command};
  // The shell is replaced at once, so the process and its status are the program's own. It looks
  // for the program in PATH, and makes one stream of two, in the order of writing.
  if (merged || argv.front().front() != '/') {
    const std::vector<std::string> wrap{"/bin/sh", "-c",
                                        merged ? R"(exec "$@" 2>&1)" : R"(exec "$@")", "sh"};
    argv.insert(argv.begin(), wrap.begin(), wrap.end());
  }
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kCommand;
  program.command = std::move(argv);
  program.env.assign(request.env.begin(), request.env.end());
  program.cwd = request.cwd;
  return program;
}

}  // namespace forkbox::execd
