#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <mutex>

namespace forkbox {
namespace {

// One write(2) a line, so lines of several processes on one descriptor never interleave.
class FdSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FdSink(int fd) : fd_(fd) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const char* data = line.data();
    std::size_t left = line.size();
    while (left > 0) {
      const ssize_t written = ::write(fd_, data, left);
      if (written <= 0) return;  // nowhere to report a log that cannot be written
      data += written;
      left -= static_cast<std::size_t>(written);
    }
  }
  void flush_() override {}

 private:
  const int fd_;
};

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

// Bytes of the UTF-8 sequence that starts at text[i], 0 if it is not a valid one (RFC 3629).
std::size_t SequenceLength(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) -> unsigned {
    return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U;
  };
  const auto continues = [&](std::size_t k) { return (byte(k) & 0xc0U) == 0x80U; };
  const unsigned first = byte(i);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(i + 1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(i + 1) || !continues(i + 2)) return 0;
    const unsigned second = byte(i + 1);
    if (first == 0xe0 && second < 0xa0) return 0;  // overlong
    if (first == 0xed && second > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(i + 1) || !continues(i + 2) || !continues(i + 3)) return 0;
    const unsigned second = byte(i + 1);
    if (first == 0xf0 && second < 0x90) return 0;
    if (first == 0xf4 && second > 0x8f) return 0;
    return 4;
  }
  return 0;
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[i++];
    } else if (c < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
      ++i;
    } else if (const std::size_t n = SequenceLength(text, i); n > 0) {
      out.append(text, i, n);
      i += n;
    } else {
      out += "\xef\xbf\xbd";  // U+FFFD
      ++i;
    }
  }
  out += '"';
}

std::string FieldsToJson(Log::Fields fields) {
  std::string json;
  for (const auto& [key, value] : fields) {
    json += ',';
    AppendQuoted(json, key);
    json += ':';
    json += value.ToJson();
  }
  return json;
}

}  // namespace

std::string LogValue::ToJson() const {
  if (const auto* text = std::get_if<std::string>(&value_)) {
    std::string quoted;
    AppendQuoted(quoted, *text);
    return quoted;
  }
  if (const auto* flag = std::get_if<bool>(&value_)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value_)) return std::to_string(*number);
  const double number = std::get<double>(value_);
  if (!std::isfinite(number)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", number);
  return text;
}

Log::Log(int fd, LogLevel level)
    : sink_(std::make_shared<spdlog::logger>("forkbox", std::make_shared<FdSink>(fd))) {
  sink_->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})", spdlog::pattern_time_type::utc));
  sink_->set_level(SpdlogLevel(level));
}

Log Log::Null() { return {}; }

Log Log::With(Fields fields) const {
  Log log = *this;
  if (sink_) log.context_ += FieldsToJson(fields);
  return log;
}

void Log::Write(LogLevel level, std::string_view event, Fields fields) const {
  if (!sink_ || !sink_->should_log(SpdlogLevel(level))) return;
  std::string body = "\"event\":";
  AppendQuoted(body, event);
  body += context_;
  body += FieldsToJson(fields);
  sink_->log(SpdlogLevel(level), spdlog::string_view_t(body.data(), body.size()));
}

void Log::Debug(std::string_view event, Fields fields) const {
  Write(LogLevel::kDebug, event, fields);
}
void Log::Info(std::string_view event, Fields fields) const {
  Write(LogLevel::kInfo, event, fields);
}
void Log::Warn(std::string_view event, Fields fields) const {
  Write(LogLevel::kWarn, event, fields);
}
void Log::Error(std::string_view event, Fields fields) const {
  Write(LogLevel::kError, event, fields);
}

}  // namespace forkbox
