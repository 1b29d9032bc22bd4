#include "api/opensandbox/execd_paths.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace forkbox::api {
namespace {

constexpr std::size_t kMaxEnvsBytes = 64U << 10;

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// "" when there is none, or none that can be read: a command runs without it then.
std::string ReadEnvsFile(execd::Files& files, const std::string& path) {
  const auto open = files.Open(path);
  if (!open) return {};
  std::string text(std::min<std::size_t>(kMaxEnvsBytes, open->size), '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t n =
        ::pread(open->file.get(), text.data() + have, text.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  text.resize(have);
  return text;
}

}  // namespace

execd::Environment ExecdPathEnvironment(const execd::Environment& env) {
  execd::Environment all = env;
  // insert() keeps what is there.
  all.insert({{"PATH", "/usr/local/bin:/usr/bin:/bin"},
              {"HOME", std::string(kExecdWorkPath)},
              {"TMPDIR", "/tmp"},
              {"LANG", "C.UTF-8"},
              {"USER", "sandbox"},
              {"LOGNAME", "sandbox"},
              {"SHELL", "/bin/bash"}});
  return all;
}

Result<std::string> ExecdPath(std::string_view path, const execd::Environment& env) {
  if (path.find('\0') != path.npos) {
    return Fail(ErrorCode::kInvalidArgument, "the path holds a NUL");
  }
  auto expanded = execd::ExpandPath(path, env);
  if (!expanded) return expanded;
  return execd::CleanPath(*expanded, kExecdWorkPath);
}

Result<std::string> ExecdRunDirectory(const std::string& cwd, const execd::Environment& env,
                                      execd::Files& files) {
  if (cwd.empty()) return cwd;
  auto path = ExecdPath(cwd, env);
  if (!path) return path;
  if (auto there = files.CheckDirectory(*path); !there) return Fail(there.error());
  return path;
}

execd::Environment ParseExecdEnvs(std::string_view text, const execd::Environment& env) {
  execd::Environment parsed;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::string_view line = Trim(text.substr(0, newline));
    text = newline == text.npos ? std::string_view() : text.substr(newline + 1);
    const std::size_t equals = line.find('=');
    if (line.empty() || line.front() == '#' || equals == line.npos) continue;
    const std::string_view name = Trim(line.substr(0, equals));
    if (name.empty() || line.find('\0') != line.npos) continue;
    const std::string_view value = line.substr(equals + 1);
    auto expanded = execd::ExpandPath(value, env);
    // A variable that is not there is passed on as it was written.
    parsed[std::string(name)] = expanded ? *std::move(expanded) : std::string(value);
  }
  return parsed;
}

execd::Environment ExecdCommandEnvironment(execd::Daemon& daemon,
                                           const execd::Environment& request) {
  execd::Environment all = daemon.env();
  if (const auto file = all.find("EXECD_ENVS"); file != all.end() && !file->second.empty()) {
    const auto known = ExecdPathEnvironment(all);
    if (const auto path = ExecdPath(file->second, known)) {
      for (auto& [name, value] : ParseExecdEnvs(ReadEnvsFile(daemon.files(), *path), known)) {
        all[name] = value;
      }
    }
  }
  for (const auto& [name, value] : request) all[name] = value;
  return all;
}

}  // namespace forkbox::api
