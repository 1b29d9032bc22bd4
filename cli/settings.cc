#include "cli/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <utility>

namespace forkbox::cli {

Settings::Settings(CLI::App& app, std::string section) : app_(app), section_(std::move(section)) {
  config_option_ = app_.add_option("--config", config_path_,
                                   "Read settings from this file: lines of `name = value`, named "
                                   "like the flags [FORKBOX_CONFIG]");
}

std::string Settings::EnvName(const std::string& flag) {
  std::string name = "FORKBOX_" + flag.substr(2);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  return name;
}

std::string Settings::Describe(const std::string& flag, const std::string& help) {
  return help + " [" + EnvName(flag) + "]";
}

std::string Settings::Text(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

Result<void> Settings::Apply(const Entry& entry, const std::string& value,
                             const std::string& where) {
  try {
    entry.option->add_result(value);
    entry.option->run_callback();
  } catch (const CLI::Error& error) {
    return Fail(ErrorCode::kInvalidArgument, where + ": " + error.what());
  }
  return {};
}

Result<std::map<std::string, std::string>> Settings::ReadFile() const {
  std::map<std::string, std::string> values;
  std::string path = config_path_;
  if (path.empty()) {
    const char* env = std::getenv("FORKBOX_CONFIG");
    if (env != nullptr) path = env;
  }
  if (path.empty()) return values;
  std::ifstream file(path);
  if (!file) return Fail(ErrorCode::kInvalidArgument, "--config: cannot read " + path);
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(file);
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kInvalidArgument, path + ": " + error.what());
  }
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // where a section begins and ends
    if (!item.parents.empty() && item.parents != std::vector<std::string>{section_}) continue;
    const bool known = std::any_of(entries_.begin(), entries_.end(),
                                   [&](const Entry& entry) { return entry.name == item.name; });
    if (!known) {
      return Fail(ErrorCode::kInvalidArgument, path + ": unknown setting \"" + item.name + "\"");
    }
    if (item.inputs.size() != 1) {
      return Fail(ErrorCode::kInvalidArgument, path + ": \"" + item.name + "\" needs one value");
    }
    values[item.name] = item.inputs.front();
  }
  return values;
}

Result<void> Settings::Complete() {
  const auto file = ReadFile();
  if (!file) return Fail(file.error());
  for (const Entry& entry : entries_) {
    if (entry.option->count() != 0) continue;
    // The environment is read here and nowhere else.
    if (const char* env = std::getenv(entry.env.c_str()); env != nullptr && *env != '\0') {
      if (auto applied = Apply(entry, env, entry.env); !applied) return applied;
    } else if (const auto found = file->find(entry.name); found != file->end()) {
      const std::string where = "config file, " + entry.name;
      if (auto applied = Apply(entry, found->second, where); !applied) return applied;
    }
  }
  return {};
}

std::string Settings::Print() const {
  std::string text;
  for (const Entry& entry : entries_) {
    const std::string value = entry.text();
    text += entry.name + " = " +
            (entry.secrecy == Secrecy::kUrlPassword ? MaskUrlPassword(value) : value) + "\n";
  }
  return text;
}

std::string MaskUrlPassword(const std::string& url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  std::string masked = url;
  // libpq takes password=, sslpassword= behind the question mark, too.
  constexpr std::string_view kParameter = "password=";
  for (std::size_t at = masked.find('?', scheme); at != std::string::npos;) {
    at = masked.find(kParameter, at);
    if (at == std::string::npos) break;
    at += kParameter.size();
    masked.replace(at, std::min(masked.find('&', at), masked.size()) - at, "***");
  }
  const std::size_t begin = scheme + 3;
  const std::size_t end = std::min(masked.find('/', begin), masked.size());
  const std::size_t at = masked.rfind('@', end);
  if (at == std::string::npos || at < begin) return masked;
  const std::size_t colon = masked.find(':', begin);
  if (colon == std::string::npos || colon > at) return masked;
  return masked.substr(0, colon + 1) + "***" + masked.substr(at);
}

}  // namespace forkbox::cli
