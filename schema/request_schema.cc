#include "schema/request_schema.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "schema/embedded_schemas.h"
#include "schema/json.h"
#include "schema/schema_problem.h"

namespace forkbox::schema {
namespace {

using Json = nlohmann::json;
using Adapter = valijson::adapters::NlohmannJsonAdapter;

constexpr std::int64_t kMaxInt64 = std::numeric_limits<std::int64_t>::max();

// What the value of a keyword is made of, as far as it must be walked to find sub-schemas, and as
// far as the words for a problem rely on it.
enum class Holds {
  kAnything,
  kText,
  kFlag,
  kNumber,
  kPositive,
  kCount,
  kNames,   // an array of strings
  kValues,  // an array of anything
  kTypes,   // a type's name, or an array of them
  kSchema,
  kSchemas,       // an array of schemas
  kSchemaOrList,  // `items`
  kMembers,       // an object of schemas
  kDependencies,  // an object of schemas or of arrays of names
  kReference,
};

struct KnownKeyword {
  std::string_view name;
  Holds holds;
};

constexpr KnownKeyword kKeywords[] = {
    {"$schema", Holds::kText},
    {"$comment", Holds::kText},
    {"$ref", Holds::kReference},
    {"title", Holds::kText},
    {"description", Holds::kText},
    {"default", Holds::kAnything},
    {"examples", Holds::kValues},
    {"readOnly", Holds::kFlag},
    {"definitions", Holds::kMembers},
    {"type", Holds::kTypes},
    {"enum", Holds::kValues},
    {"const", Holds::kAnything},
    {"multipleOf", Holds::kPositive},
    {"minimum", Holds::kNumber},
    {"maximum", Holds::kNumber},
    {"exclusiveMinimum", Holds::kNumber},
    {"exclusiveMaximum", Holds::kNumber},
    {"minLength", Holds::kCount},
    {"maxLength", Holds::kCount},
    {"items", Holds::kSchemaOrList},
    {"additionalItems", Holds::kSchema},
    {"contains", Holds::kSchema},
    {"minItems", Holds::kCount},
    {"maxItems", Holds::kCount},
    {"properties", Holds::kMembers},
    {"additionalProperties", Holds::kSchema},
    {"propertyNames", Holds::kSchema},
    {"required", Holds::kNames},
    {"dependencies", Holds::kDependencies},
    {"minProperties", Holds::kCount},
    {"maxProperties", Holds::kCount},
    {"allOf", Holds::kSchemas},
    {"anyOf", Holds::kSchemas},
    {"oneOf", Holds::kSchemas},
    {"not", Holds::kSchema},
    {"if", Holds::kSchema},
    {"then", Holds::kSchema},
    {"else", Holds::kSchema},
};

constexpr std::array<std::string_view, 7> kTypes{"object",  "array",  "string", "boolean",
                                                 "integer", "number", "null"};

bool IsTypeName(const Json& json) {
  return json.is_string() && std::find(kTypes.begin(), kTypes.end(),
                                       json.get_ref<const std::string&>()) != kTypes.end();
}

bool IsListOf(const Json& json, bool (*is_one)(const Json&)) {
  return json.is_array() && std::all_of(json.begin(), json.end(), is_one);
}

bool IsText(const Json& json) { return json.is_string(); }

// Our schemas come with the program, so this guards against our own mistakes, at start.
class Inspector {
 public:
  explicit Inspector(const Json& root) : root_(root) {}

  std::optional<std::string> Inspect() {
    Schema(root_, "#");
    return problem_;
  }

 private:
  void Refuse(const std::string& where, std::string_view why) {
    if (!problem_) problem_ = where + ": " + std::string(why);
  }

  void Schema(const Json& schema, const std::string& where) {
    if (schema.is_boolean() || problem_) return;
    if (!schema.is_object()) return Refuse(where, "a schema is an object or a boolean");
    for (const auto& [name, value] : schema.items()) Keyword(name, value, where + "/" + name);
  }

  void Keyword(const std::string& name, const Json& value, const std::string& where) {
    std::optional<Holds> holds;
    for (const KnownKeyword& known : kKeywords) {
      if (known.name == name) holds = known.holds;
    }
    if (!holds) return Refuse(where, "not a keyword of draft 7 that we take");
    if (name == "definitions" && where != "#/definitions") {
      return Refuse(where, "definitions belong at the root");
    }
    if (name == "$schema" && value != "http://json-schema.org/draft-07/schema#") {
      return Refuse(where, "only draft 7 is understood");
    }
    if (!Fits(*holds, value, where)) Refuse(where, "has the wrong form");
  }

  bool Fits(Holds holds, const Json& value, const std::string& where) {
    switch (holds) {
      case Holds::kAnything:
        return true;
      case Holds::kText:
        return value.is_string();
      case Holds::kFlag:
        return value.is_boolean();
      case Holds::kNumber:
        return value.is_number();
      case Holds::kPositive:
        return value.is_number() && value > 0;
      case Holds::kCount:
        return value.is_number_unsigned();
      case Holds::kNames:
        return IsListOf(value, IsText);
      case Holds::kValues:
        return value.is_array();
      case Holds::kTypes:
        return IsTypeName(value) || (!value.empty() && IsListOf(value, IsTypeName));
      case Holds::kSchema:
        Schema(value, where);
        return true;
      case Holds::kSchemaOrList:
        if (!value.is_array()) {
          Schema(value, where);
          return true;
        }
        [[fallthrough]];
      case Holds::kSchemas:
        if (!value.is_array() || value.empty()) return false;
        for (std::size_t i = 0; i < value.size(); ++i) {
          Schema(value[i], where + "/" + std::to_string(i));
        }
        return true;
      case Holds::kMembers:
        if (!value.is_object()) return false;
        for (const auto& [name, member] : value.items()) Schema(member, where + "/" + name);
        return true;
      case Holds::kDependencies:
        if (!value.is_object()) return false;
        for (const auto& [name, member] : value.items()) {
          if (!IsListOf(member, IsText)) Schema(member, where + "/" + name);
        }
        return true;
      case Holds::kReference:
        return Reference(value, where);
    }
    return false;
  }

  // A reference names a definition; one that leads from definition to definition must end.
  bool Reference(const Json& value, const std::string& where) {
    constexpr std::string_view kPrefix = "#/definitions/";
    if (!value.is_string()) return false;
    std::set<std::string> seen;
    std::string target = value.get<std::string>();
    for (;;) {
      if (target.substr(0, kPrefix.size()) != kPrefix ||
          target.find_first_of("/~%", kPrefix.size()) != target.npos) {
        Refuse(where, "a $ref must name one of #/definitions/");
        return true;
      }
      if (!seen.insert(target).second) {
        Refuse(where, "a $ref that leads to itself");
        return true;
      }
      const Json::json_pointer pointer(target.substr(1));
      if (!root_.contains(pointer)) {
        Refuse(where, "no such definition");
        return true;
      }
      const Json& definition = root_.at(pointer);
      if (!definition.is_object() || !definition.contains("$ref")) return true;
      if (!definition["$ref"].is_string()) return false;
      target = definition["$ref"].get<std::string>();
    }
  }

  const Json& root_;
  std::optional<std::string> problem_;
};

// The validator's adapter reads every integer as a signed one, so those above 2^63 - 1 turn
// negative. They are rare: only a request that has one is copied, with that value in its stead.
bool HasHugeInteger(const Json& json) {
  if (json.is_structured()) return std::any_of(json.begin(), json.end(), HasHugeInteger);
  return json.is_number_unsigned() &&
         json.get_ref<const std::uint64_t&>() > static_cast<std::uint64_t>(kMaxInt64);
}

void ClampHugeIntegers(Json& json) {
  if (json.is_structured()) {
    for (Json& child : json) ClampHugeIntegers(child);
  } else if (HasHugeInteger(json)) {
    json = kMaxInt64;
  }
}

}  // namespace

struct RequestSchema::Compiled {
  Json json;
  valijson::Schema schema;
};

RequestSchema::RequestSchema(std::shared_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}

Result<RequestSchema> RequestSchema::Load(std::string_view name) {
  for (const EmbeddedSchema& embedded : EmbeddedSchemas()) {
    if (embedded.name != name) continue;
    Result<RequestSchema> schema = Compile(embedded.text);
    if (!schema) {
      return Fail(ErrorCode::kInternal,
                  "request schema " + std::string(name) + ": " + schema.error().message);
    }
    return schema;
  }
  return Fail(ErrorCode::kNotFound, "no request schema " + std::string(name));
}

std::vector<std::string_view> RequestSchema::Names() {
  std::vector<std::string_view> names;
  for (const EmbeddedSchema& embedded : EmbeddedSchemas()) names.push_back(embedded.name);
  return names;
}

Result<RequestSchema> RequestSchema::Compile(std::string_view schema_text) {
  Result<Json> json = ParseJson(schema_text);
  if (!json) return Fail(std::move(json).error());
  if (!json->is_object()) return Fail(ErrorCode::kInvalidArgument, "#: must be an object");
  if (const std::optional<std::string> problem = Inspector(*json).Inspect()) {
    return Fail(ErrorCode::kInvalidArgument, *problem);
  }
  auto compiled = std::make_shared<Compiled>();
  compiled->json = std::move(*json);
  try {
    valijson::SchemaParser(valijson::SchemaParser::kDraft7)
        .populateSchema(Adapter(compiled->json), compiled->schema);
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kInvalidArgument, std::string("#: ") + error.what());
  }
  return RequestSchema(std::move(compiled));
}

Result<void> RequestSchema::Validate(const Json& request) const {
  bool fits = false;
  try {
    valijson::Validator validator;  // cheap; one of our own because it is not thread-safe
    if (HasHugeInteger(request)) {
      Json clamped = request;
      ClampHugeIntegers(clamped);
      fits = validator.validate(compiled_->schema, Adapter(clamped), nullptr);
    } else {
      fits = validator.validate(compiled_->schema, Adapter(request), nullptr);
    }
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kInternal, std::string("request schema: ") + error.what());
  }
  if (fits) return {};
  const std::optional<std::string> problem =
      FindSchemaProblem(compiled_->json, compiled_->json, request, "");
  return Fail(ErrorCode::kInvalidArgument, problem.value_or("body: does not fit the schema"));
}

}  // namespace forkbox::schema
