// Log: one JSON object a line on a descriptor, through spdlog.
//
//   log.With({{"execution_id", id.str()}}).Info("execution.finished", {{"state", "completed"}});
//   {"ts":"2026-01-02T03:04:05.678Z","level":"info","event":"execution.finished","execution_id":…}
//
// Event names are stable `noun.verb`. Users' code, output and keys never belong in a field.
// Thread-safe; copies are cheap and share the sink.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace spdlog {
class logger;
}

namespace forkbox {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

class LogValue {
 public:
  LogValue(const char* text) : value_(std::string(text)) {}       // NOLINT: reads as a literal
  LogValue(std::string_view text) : value_(std::string(text)) {}  // NOLINT
  LogValue(std::string text) : value_(std::move(text)) {}         // NOLINT
  LogValue(bool flag) : value_(flag) {}                           // NOLINT
  LogValue(int number) : value_(std::int64_t{number}) {}          // NOLINT
  LogValue(unsigned number) : value_(std::int64_t{number}) {}     // NOLINT
  LogValue(long number) : value_(std::int64_t{number}) {}         // NOLINT
  LogValue(unsigned long number) : value_(static_cast<std::int64_t>(number)) {}       // NOLINT
  LogValue(long long number) : value_(std::int64_t{number}) {}                        // NOLINT
  LogValue(unsigned long long number) : value_(static_cast<std::int64_t>(number)) {}  // NOLINT
  LogValue(double number) : value_(number) {}                                         // NOLINT

  // The JSON form: quoted and escaped for text, invalid UTF-8 replaced by U+FFFD.
  [[nodiscard]] std::string ToJson() const;

 private:
  std::variant<std::string, bool, std::int64_t, double> value_;
};

class Log {
 public:
  using Fields = std::initializer_list<std::pair<std::string_view, LogValue>>;

  // Writes to `fd`, which must stay open. Lines below `level` cost one comparison.
  Log(int fd, LogLevel level);
  static Log Null();

  [[nodiscard]] Log With(Fields fields) const;
  void Debug(std::string_view event, Fields fields = {}) const;
  void Info(std::string_view event, Fields fields = {}) const;
  void Warn(std::string_view event, Fields fields = {}) const;
  void Error(std::string_view event, Fields fields = {}) const;

 private:
  Log() = default;
  void Write(LogLevel level, std::string_view event, Fields fields) const;

  std::shared_ptr<spdlog::logger> sink_;  // shared by all copies; null writes nothing
  std::string context_;                   // ,"key":value… already in JSON form
};

}  // namespace forkbox
