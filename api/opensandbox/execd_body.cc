#include "api/opensandbox/execd_body.h"

#include <cstddef>
#include <limits>
#include <utility>

#include "api/http/fields.h"
#include "schema/json.h"
#include "schema/utf8.h"

namespace forkbox::api {
namespace {

using Json = nlohmann::json;

constexpr schema::JsonLimits kLimits{
    .max_depth = 32, .max_values = 100'000, .max_bytes = 64U << 20};

// Where the first value of `text` ends, as far as brackets and strings tell: what is wrong inside
// is the parser's to find.
std::size_t FirstValueEnd(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && depth > 0 && --depth == 0) {
      return i + 1;
    }
  }
  return text.size();
}

}  // namespace

Result<Json> DecodeExecdBody(std::string body) {
  if (body.find_first_not_of(" \t\r\n") == body.npos) {
    return Fail(ErrorCode::kInvalidArgument, "EOF");
  }
  body.resize(FirstValueEnd(body));
  return schema::ParseJson(schema::ToValidUtf8(std::move(body)), kLimits);
}

ExecdFields::ExecdFields(const Json& value) : object_(value) {
  if (!value.is_object()) problem_ = "the body must be a JSON object";
}

const Json* ExecdFields::Find(std::string_view name) const {
  if (!object_.is_object()) return nullptr;
  const Json* found = nullptr;
  if (const auto exact = object_.find(name); exact != object_.end()) {
    found = &*exact;
  } else {
    for (const auto& [key, value] : object_.items()) {
      if (http::EqualIgnoringCase(key, name)) found = &value;
    }
  }
  return found == nullptr || found->is_null() ? nullptr : found;
}

void ExecdFields::Wrong(std::string_view name, std::string_view expected) {
  if (!problem_.empty()) return;
  problem_ = "field \"" + std::string(name) + "\" must be " + std::string(expected);
}

void ExecdFields::Text(std::string_view name, std::string* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  if (!found->is_string()) return Wrong(name, "a string");
  *value = found->get_ref<const std::string&>();
}

void ExecdFields::Flag(std::string_view name, bool* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  if (!found->is_boolean()) return Wrong(name, "true or false");
  *value = found->get<bool>();
}

void ExecdFields::Integer(std::string_view name, std::int64_t* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!found->is_number_integer() ||
      (found->is_number_unsigned() && found->get<std::uint64_t>() > kMost)) {
    return Wrong(name, "an integer");
  }
  *value = found->get<std::int64_t>();
}

void ExecdFields::Number32(std::string_view name, std::optional<std::uint32_t>* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  if (!found->is_number_unsigned() ||
      found->get<std::uint64_t>() > std::numeric_limits<std::uint32_t>::max()) {
    return Wrong(name, "an integer from 0 to 4294967295");
  }
  *value = found->get<std::uint32_t>();
}

void ExecdFields::Texts(std::string_view name, std::vector<std::string>* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  if (!found->is_array()) return Wrong(name, "an array of strings");
  for (const Json& one : *found) {
    if (!one.is_string()) return Wrong(name, "an array of strings");
    value->push_back(one.get_ref<const std::string&>());
  }
}

void ExecdFields::TextMap(std::string_view name, execd::Environment* value) {
  const Json* const found = Find(name);
  if (found == nullptr) return;
  if (!found->is_object()) return Wrong(name, "an object of strings");
  for (const auto& [key, one] : found->items()) {
    if (!one.is_string() && !one.is_null()) return Wrong(name, "an object of strings");
    (*value)[key] = one.is_null() ? std::string() : one.get_ref<const std::string&>();
  }
}

Result<void> ExecdFields::Finish() const {
  if (!problem_.empty()) return Fail(ErrorCode::kInvalidArgument, problem_);
  return {};
}

Result<execd::Permission> ReadPermission(const Json& value) {
  execd::Permission permission;
  if (value.is_null()) return permission;
  ExecdFields fields(value);
  std::int64_t mode = 0;
  fields.Text("owner", &permission.owner);
  fields.Text("group", &permission.group);
  fields.Integer("mode", &mode);
  if (auto read = fields.Finish(); !read) return Fail(read.error());
  // Decimal digits that mean octal ones; of more than three those before them are setuid and sticky
  // bits, which nobody here gets.
  std::uint32_t bits = 0;
  std::int64_t rest = mode;
  for (std::uint32_t shift = 0; rest > 0 && shift < 12; shift += 3, rest /= 10) {
    const auto digit = static_cast<std::uint32_t>(rest % 10);
    if (digit > 7) {
      rest = -1;
      break;
    }
    bits |= digit << shift;
  }
  if (mode < 0 || rest != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "field \"mode\" must be octal permission digits, like 644");
  }
  permission.mode = bits & 0777U;
  return permission;
}

}  // namespace forkbox::api
