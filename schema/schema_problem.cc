#include "schema/schema_problem.h"

#include <cmath>
#include <cstdint>
#include <string_view>

#include "schema/json.h"

namespace forkbox::schema {
namespace {

using Json = nlohmann::json;

// A path is at most this long in a message; member names are the sender's.
constexpr std::size_t kLongestName = 64;

const Json* Keyword(const Json& schema, const char* name) {
  if (!schema.is_object()) return nullptr;
  const auto found = schema.find(name);
  return found == schema.end() ? nullptr : &*found;
}

std::string Name(std::string_view name) {
  std::string shown;
  for (const char c : name.substr(0, kLongestName)) {
    shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return name.size() > kLongestName ? shown + "..." : shown;
}

std::string Member(const std::string& path, std::string_view name) {
  return path.empty() ? Name(name) : path + "." + Name(name);
}

std::string Problem(const std::string& path, std::string_view what) {
  return (path.empty() ? "body" : path) + ": " + std::string(what);
}

std::size_t CodePoints(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1U : 0U;
  return count;
}

bool HasType(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") return value.is_number_integer();  // of either sign
  return type == "number" && value.is_number();
}

std::string WithArticle(std::string_view type) {
  if (type == "null") return "null";
  const bool vowel = type.front() == 'a' || type.front() == 'i' || type.front() == 'o';
  return (vowel ? "an " : "a ") + std::string(type);
}

// "an integer from 1 to 300", "a non-negative integer", "a number above 0".
std::string DescribeNumber(const Json& schema, const std::string& type) {
  const Json* const low = Keyword(schema, "minimum");
  const Json* const above = Keyword(schema, "exclusiveMinimum");
  const Json* const high = Keyword(schema, "maximum");
  const Json* const below = Keyword(schema, "exclusiveMaximum");
  if (low != nullptr && high != nullptr && above == nullptr && below == nullptr) {
    return WithArticle(type) + " from " + low->dump() + " to " + high->dump();
  }
  if (low != nullptr && *low == 0 && above == nullptr && high == nullptr && below == nullptr) {
    return "a non-negative " + type;
  }
  std::string text = WithArticle(type);
  const char* joint = " ";
  const auto add = [&](const Json* bound, const char* word) {
    if (bound == nullptr) return;
    text += joint + std::string(word) + " " + bound->dump();
    joint = " and ";
  };
  add(low, "of at least");
  add(above, "above");
  add(high, "of at most");
  add(below, "below");
  return text;
}

std::string DescribeTypes(const Json& schema, const Json& type) {
  const auto one = [&](const Json& name) {
    const auto& word = name.get_ref<const std::string&>();
    return word == "integer" || word == "number" ? DescribeNumber(schema, word) : WithArticle(word);
  };
  if (type.is_string()) return one(type);
  std::string text;
  for (std::size_t i = 0; i < type.size(); ++i) {
    if (i > 0) text += i + 1 == type.size() ? " or " : ", ";
    text += one(type[i]);
  }
  return text;
}

std::string OneOf(const Json& values) {
  std::string text = "must be one of: ";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += ", ";
    text += values[i].is_string() ? values[i].get<std::string>() : DumpJson(values[i]);
  }
  return text;
}

std::string Count(const Json& number, std::string_view thing) {
  return number.dump() + " " + std::string(thing) + (number == 1 ? "" : "s");
}

bool OutOfBounds(const Json& schema, const Json& value) {
  // The library compares integers of either sign and doubles with each other rightly.
  if (const Json* bound = Keyword(schema, "minimum"); bound && value < *bound) return true;
  if (const Json* bound = Keyword(schema, "maximum"); bound && value > *bound) return true;
  if (const Json* bound = Keyword(schema, "exclusiveMinimum"); bound && value <= *bound) {
    return true;
  }
  const Json* const bound = Keyword(schema, "exclusiveMaximum");
  return bound != nullptr && value >= *bound;
}

bool IsMultiple(const Json& value, const Json& of) {
  if (value.is_number_unsigned() && of.is_number_unsigned()) {
    return value.get<std::uint64_t>() % of.get<std::uint64_t>() == 0;
  }
  return std::fmod(value.get<double>(), of.get<double>()) == 0.0;
}

class Finder {
 public:
  explicit Finder(const Json& root) : root_(root) {}

  using Found = std::optional<std::string>;

  Found Find(const Json& schema, const Json& value, const std::string& path) const {
    if (schema.is_boolean()) {
      return schema.get<bool>() ? Found() : Problem(path, "is not allowed here");
    }
    if (const Json* ref = Keyword(schema, "$ref")) {
      // Draft 7: what stands beside a $ref counts for nothing.
      return Find(root_.at(Json::json_pointer(ref->get_ref<const std::string&>().substr(1))), value,
                  path);
    }
    if (Found found = FindType(schema, value, path)) return found;
    Found found;
    if (value.is_number()) found = FindNumber(schema, value, path);
    if (value.is_string()) found = FindString(schema, value, path);
    if (value.is_object()) found = FindObject(schema, value, path);
    if (value.is_array()) found = FindArray(schema, value, path);
    return found ? found : FindCombined(schema, value, path);
  }

 private:
  Found FindType(const Json& schema, const Json& value, const std::string& path) const {
    if (const Json* type = Keyword(schema, "type")) {
      bool fits = false;
      if (type->is_string()) {
        fits = HasType(value, type->get_ref<const std::string&>());
      } else {
        for (const Json& one : *type) fits |= HasType(value, one.get_ref<const std::string&>());
      }
      if (!fits) return Problem(path, "must be " + DescribeTypes(schema, *type));
    }
    if (const Json* values = Keyword(schema, "enum")) {
      bool fits = false;
      for (const Json& one : *values) fits |= one == value;
      if (!fits) return Problem(path, OneOf(*values));
    }
    if (const Json* constant = Keyword(schema, "const"); constant && *constant != value) {
      return Problem(path, "must be " + DumpJson(*constant));
    }
    return std::nullopt;
  }

  Found FindNumber(const Json& schema, const Json& value, const std::string& path) const {
    if (OutOfBounds(schema, value)) {
      const Json* const type = Keyword(schema, "type");
      const bool integer = type != nullptr && *type == "integer";
      return Problem(path, "must be " + DescribeNumber(schema, integer ? "integer" : "number"));
    }
    if (const Json* of = Keyword(schema, "multipleOf"); of && !IsMultiple(value, *of)) {
      return Problem(path, "must be a multiple of " + of->dump());
    }
    return std::nullopt;
  }

  Found FindString(const Json& schema, const Json& value, const std::string& path) const {
    const Json* const least = Keyword(schema, "minLength");
    const Json* const most = Keyword(schema, "maxLength");
    if (least == nullptr && most == nullptr) return std::nullopt;
    const std::size_t length = CodePoints(value.get_ref<const std::string&>());
    if (least != nullptr && length < least->get<std::size_t>()) {
      if (*least == 1) return Problem(path, "must not be empty");
      return Problem(path, "must be at least " + Count(*least, "character") + " long");
    }
    if (most != nullptr && length > most->get<std::size_t>()) {
      return Problem(path, "must be at most " + Count(*most, "character") + " long");
    }
    return std::nullopt;
  }

  Found FindObject(const Json& schema, const Json& value, const std::string& path) const {
    if (const Json* required = Keyword(schema, "required")) {
      for (const Json& name : *required) {
        const auto& word = name.get_ref<const std::string&>();
        if (!value.contains(word)) return Problem(Member(path, word), "is required");
      }
    }
    if (const Json* least = Keyword(schema, "minProperties");
        least && value.size() < least->get<std::size_t>()) {
      return Problem(path, "must have at least " + Count(*least, "member"));
    }
    if (const Json* most = Keyword(schema, "maxProperties");
        most && value.size() > most->get<std::size_t>()) {
      return Problem(path, "must have at most " + Count(*most, "member"));
    }
    const Json* const properties = Keyword(schema, "properties");
    const Json* const others = Keyword(schema, "additionalProperties");
    const Json* const names = Keyword(schema, "propertyNames");
    const Json* const dependencies = Keyword(schema, "dependencies");
    for (const auto& [name, member] : value.items()) {
      const std::string member_path = Member(path, name);
      if (names != nullptr && Find(*names, Json(name), member_path)) {
        return Problem(member_path, "is not an allowed name");
      }
      const Json* own = properties != nullptr ? Keyword(*properties, name.c_str()) : nullptr;
      if (own == nullptr && others != nullptr && others->is_boolean() && !others->get<bool>()) {
        return Problem(member_path, "is not a known field");
      }
      if (own == nullptr) own = others;
      if (own != nullptr) {
        if (Found found = Find(*own, member, member_path)) return found;
      }
      const Json* depends =
          dependencies != nullptr ? Keyword(*dependencies, name.c_str()) : nullptr;
      if (depends == nullptr) continue;
      if (!depends->is_array()) {
        if (Found found = Find(*depends, value, path)) return found;
        continue;
      }
      for (const Json& other : *depends) {
        const auto& word = other.get_ref<const std::string&>();
        if (!value.contains(word)) {
          return Problem(Member(path, word), "is required beside " + Name(name));
        }
      }
    }
    return std::nullopt;
  }

  Found FindArray(const Json& schema, const Json& value, const std::string& path) const {
    if (const Json* least = Keyword(schema, "minItems");
        least && value.size() < least->get<std::size_t>()) {
      return Problem(path, "must have at least " + Count(*least, "item"));
    }
    if (const Json* most = Keyword(schema, "maxItems");
        most && value.size() > most->get<std::size_t>()) {
      return Problem(path, "must have at most " + Count(*most, "item"));
    }
    const Json* const items = Keyword(schema, "items");
    const Json* const more = Keyword(schema, "additionalItems");
    const Json* const contains = Keyword(schema, "contains");
    bool contained = contains == nullptr;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const std::string item_path = path + "[" + std::to_string(i) + "]";
      const Json* own = items;
      if (items != nullptr && items->is_array()) own = i < items->size() ? &(*items)[i] : more;
      if (own != nullptr) {
        if (Found found = Find(*own, value[i], item_path)) return found;
      }
      contained = contained || !Find(*contains, value[i], item_path);
    }
    if (!contained) return Problem(path, "lacks an item that must be there");
    return std::nullopt;
  }

  Found FindCombined(const Json& schema, const Json& value, const std::string& path) const {
    if (const Json* all = Keyword(schema, "allOf")) {
      for (const Json& one : *all) {
        if (Found found = Find(one, value, path)) return found;
      }
    }
    for (const char* keyword : {"anyOf", "oneOf"}) {
      const Json* const choices = Keyword(schema, keyword);
      if (choices == nullptr) continue;
      std::size_t fits = 0;
      for (const Json& one : *choices) fits += Find(one, value, path) ? 0U : 1U;
      if (fits == 0) return Problem(path, "has none of the allowed forms");
      if (fits > 1 && std::string_view(keyword) == "oneOf") {
        return Problem(path, "has several forms that exclude each other");
      }
    }
    if (const Json* never = Keyword(schema, "not"); never && !Find(*never, value, path)) {
      return Problem(path, "has a form that is not allowed");
    }
    if (const Json* condition = Keyword(schema, "if")) {
      const Json* const then = Keyword(schema, Find(*condition, value, path) ? "else" : "then");
      if (then != nullptr) return Find(*then, value, path);
    }
    return std::nullopt;
  }

  const Json& root_;
};

}  // namespace

std::optional<std::string> FindSchemaProblem(const Json& root, const Json& schema,
                                             const Json& value, const std::string& path) {
  return Finder(root).Find(schema, value, path);
}

}  // namespace forkbox::schema
