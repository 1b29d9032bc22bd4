#include "api/python_schema.h"

#include <array>
#include <cmath>
#include <utility>

#include "api/python_repr.h"
#include "schema/embedded_schemas.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;

constexpr std::array kKeywords{
    "$schema", "title",   "type",      "required", "additionalProperties",
    "minimum", "maximum", "properties"};

bool OnlyKnownKeywords(const json& schema) {
  if (!schema.is_object()) return false;
  for (const auto& [name, value] : schema.items()) {
    bool known = false;
    for (const char* keyword : kKeywords) known |= name == keyword;
    if (!known) return false;
    if (name != "properties") continue;
    for (const auto& [member, own] : value.items()) {
      if (!OnlyKnownKeywords(own)) return false;
    }
  }
  return true;
}

bool HasType(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type != "integer") return false;
  return value.is_number_integer() ||
         (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
}

// 'a', 'b' were unexpected
std::string Unexpected(const json& object, const json& properties) {
  std::string names;
  std::size_t count = 0;
  for (const auto& [name, value] : object.items()) {
    if (properties.contains(name)) continue;
    // A few say enough to whoever sent thousands.
    if (++count <= 20) names += (count > 1 ? ", " : "") + PythonRepr(name);
  }
  if (count == 0) return {};
  return names + (count == 1 ? " was unexpected" : " were unexpected");
}

std::optional<std::string> ComplaintOf(const json& schema, const json& value) {
  if (const auto type = schema.find("type"); type != schema.end() && !HasType(value, *type)) {
    return PythonRepr(value) + " is not of type " + PythonRepr(*type);
  }
  if (value.is_number()) {
    if (const auto least = schema.find("minimum"); least != schema.end() && value < *least) {
      return PythonRepr(value) + " is less than the minimum of " + PythonRepr(*least);
    }
    if (const auto most = schema.find("maximum"); most != schema.end() && value > *most) {
      return PythonRepr(value) + " is greater than the maximum of " + PythonRepr(*most);
    }
  }
  if (!value.is_object()) return std::nullopt;
  if (const auto required = schema.find("required"); required != schema.end()) {
    for (const json& name : *required) {
      if (!value.contains(name)) return PythonRepr(name) + " is a required property";
    }
  }
  const json properties = schema.value("properties", json::object());
  if (schema.value("additionalProperties", true) == false) {
    if (std::string names = Unexpected(value, properties); !names.empty()) {
      return "Additional properties are not allowed (" + names + ")";
    }
  }
  // Of members it is the last by name whose complaint counts as the best.
  for (auto member = properties.rbegin(); member != properties.rend(); ++member) {
    const auto found = value.find(member.key());
    if (found == value.end()) continue;
    if (auto complaint = ComplaintOf(member.value(), *found)) return complaint;
  }
  return std::nullopt;
}

}  // namespace

Result<PythonSchema> PythonSchema::Load(std::string_view name) {
  for (const schema::EmbeddedSchema& embedded : schema::EmbeddedSchemas()) {
    if (embedded.name != name) continue;
    Result<json> schema = schema::ParseJson(embedded.text);
    if (schema && OnlyKnownKeywords(*schema)) return PythonSchema(*std::move(schema));
    return Fail(ErrorCode::kInternal, "schema " + std::string(name) + ": not usable");
  }
  return Fail(ErrorCode::kInternal, "schema " + std::string(name) + ": not built in");
}

std::optional<std::string> PythonSchema::Complaint(const json& request) const {
  return ComplaintOf(schema_, request);
}

}  // namespace forkbox::api
