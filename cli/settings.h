// Settings: options of a subcommand that can also come from the environment and from a file.
//
// flags > environment > config file > default. The file is TOML in its simplest form, one
// `name = value` a line with the names of the long flags; a section named after the subcommand is
// accepted around them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace forkbox::cli {

// One thread. Lives as long as the CLI::App it adds to.
class Settings {
 public:
  enum class Secrecy { kOpen, kUrlPassword };

  // `section` is the subcommand's name. Adds --config.
  Settings(CLI::App& app, std::string section);
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  // "--listen" is FORKBOX_LISTEN in the environment and `listen` in the file.
  template <class T>
  CLI::Option* Add(const std::string& flag, T& value, const std::string& help,
                   Secrecy secrecy = Secrecy::kOpen) {
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      option = app_.add_flag(flag, value, Describe(flag, help));
    } else {
      option = app_.add_option(flag, value, Describe(flag, help))->capture_default_str();
    }
    entries_.push_back(
        {flag.substr(2), EnvName(flag), option, secrecy, [&value] { return Text(value); }});
    return option;
  }

  // Fills what the flags left open. To be called after the app was parsed.
  // kInvalidArgument names the variable, or the file and the key.
  Result<void> Complete();

  // The effective values as a config file, without comments and with passwords as "***".
  [[nodiscard]] std::string Print() const;

  static std::string EnvName(const std::string& flag);

 private:
  struct Entry {
    std::string name;
    std::string env;
    CLI::Option* option;
    Secrecy secrecy;
    std::function<std::string()> text;
  };

  static std::string Describe(const std::string& flag, const std::string& help);
  static std::string Text(const std::string& value);
  static std::string Text(bool value) { return value ? "true" : "false"; }
  static std::string Text(std::size_t value) { return std::to_string(value); }
  static std::string Text(int value) { return std::to_string(value); }
  static Result<void> Apply(const Entry& entry, const std::string& value, const std::string& where);
  Result<std::map<std::string, std::string>> ReadFile() const;

  CLI::App& app_;
  const std::string section_;
  std::string config_path_;
  CLI::Option* config_option_ = nullptr;
  std::vector<Entry> entries_;
};

// "postgres://user:***@host/db" for "postgres://user:secret@host/db"; other text as it is.
std::string MaskUrlPassword(const std::string& url);

}  // namespace forkbox::cli
