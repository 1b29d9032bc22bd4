#include "schema/json.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace forkbox::schema {
namespace {

using Json = nlohmann::json;

// Where `byte` is, counted as editors do.
std::string Place(std::string_view text, std::size_t byte) {
  const std::string_view head = text.substr(0, std::min(byte, text.size()));
  const auto lines = std::count(head.begin(), head.end(), '\n');
  const std::size_t newline = head.rfind('\n');
  const std::size_t column = newline == head.npos ? byte : byte - newline - 1;
  return " at line " + std::to_string(lines + 1) + " column " + std::to_string(column + 1);
}

// The library's message quotes what it read last. Ours goes into logs, where user input has no
// business, so only its own words are kept: "syntax error while parsing C - REASON; last read …".
std::string Reason(std::string_view what) {
  const std::size_t dash = what.find(" - ");
  if (dash == what.npos) {
    return what.find("number overflow") != what.npos ? "number out of range" : "invalid JSON";
  }
  std::string_view reason = what.substr(dash + 3);
  reason = reason.substr(0, reason.find("; last read"));
  reason = reason.substr(0, reason.find("; expected '[', '{'"));  // "or a literal": a value
  if (reason.find("end of input") == sizeof("unexpected ") - 1) return "unexpected end of input";
  if (reason == "invalid literal") return "expected value";
  if (reason.find("ill-formed UTF-8") != reason.npos) return "invalid UTF-8";
  // "control character U+0009 (HT) must be escaped to \u0009 or \t": the rest is for C programmers.
  if (reason.find("control character") != reason.npos) return "unescaped control character";
  return std::string(reason);
}

// Builds the document, and stops where it grows too deep or too large. The library's parser keeps
// its own stack on the heap, so depth costs no stack of ours.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }  // no such thing in text
  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    member_ = &(*open_.back())[std::move(name)];
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    position_ = position;
    reason_ = Reason(error.what());
    return false;
  }

  Json root;
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  template <class Value>
  Json* Add(Value&& value) {
    if (++values_ > limits_.max_values) {
      reason_ = "more than " + std::to_string(limits_.max_values) + " values";
      return nullptr;
    }
    if (open_.empty()) {
      root = Json(std::forward<Value>(value));
      return &root;
    }
    if (open_.back()->is_object()) {
      *member_ = Json(std::forward<Value>(value));
      return member_;
    }
    return &open_.back()->emplace_back(std::forward<Value>(value));
  }

  bool Open(Json empty) {
    if (open_.size() == limits_.max_depth) {
      reason_ = "nested deeper than " + std::to_string(limits_.max_depth) + " levels";
      return false;
    }
    Json* const added = Add(std::move(empty));
    if (added == nullptr) return false;
    // Stays valid while it is open: its parent cannot grow meanwhile.
    open_.push_back(added);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // of the innermost open object: the one whose key was read last
  std::size_t values_ = 0;
  std::size_t position_ = 0;  // bytes read at the error, the end counted; 0: the limits stopped us
  std::string reason_;
};

}  // namespace

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "JSON larger than " + std::to_string(limits.max_bytes) + " bytes");
  }
  // The library takes a NUL outside a string for the end of the input and would leave the rest
  // unread. No JSON text may hold one raw, in a string or out.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    return Fail(ErrorCode::kInvalidArgument, "unescaped control character" + Place(text, nul));
  }
  Builder builder(limits);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
  std::string message = builder.reason();
  if (builder.position() > 0) {
    // The position counts the offending byte, except at the end, where there is none.
    const bool at_end = message == "unexpected end of input";
    message += Place(text, at_end ? text.size() : std::min(builder.position(), text.size()) - 1);
  }
  return Fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string DumpJson(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace forkbox::schema
