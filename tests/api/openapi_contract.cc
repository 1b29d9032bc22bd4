#include "tests/api/openapi_contract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "schema/json.h"
#include "schema/openapi_document.h"
#include "schema/request_schema.h"

namespace forkbox::testing {
namespace {

using nlohmann::json;
using schema::RequestSchema;

// What a value may be: a program's value may be deep, its output large.
constexpr schema::JsonLimits kBodyLimits{4'096, 10'000'000, 1U << 30};

// What the server says to a request that it cannot read, whatever the path.
constexpr std::array kFraming{400, 408, 413, 414, 417, 431, 501, 503, 505};

// Of HTTP itself, or for browsers: on any answer.
constexpr std::array<std::string_view, 10> kOrdinaryHeaders{"date",
                                                            "connection",
                                                            "content-length",
                                                            "content-type",
                                                            "transfer-encoding",
                                                            "cache-control",
                                                            "referrer-policy",
                                                            "vary",
                                                            "x-content-type-options",
                                                            "x-request-id"};

// What is for people, or what the validator does not know. Regular expressions and formats are not
// checked: the validator would need std::regex for them.
constexpr std::array<std::string_view, 9> kAnnotations{
    "description", "title",      "format",       "pattern",      "example",
    "examples",    "deprecated", "externalDocs", "discriminator"};

constexpr std::string_view kSchemas = "#/components/schemas/";

template <class List, class T>
bool Contains(const List& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// A schema of the document as one that stands alone: what it refers to becomes its definitions.
class Draft7 {
 public:
  static std::string From(const json& schema) {
    Draft7 made;
    json root = made.Convert(schema);
    // A $ref hides its neighbours in draft 7.
    if (root.is_object() && root.contains("$ref")) root = json{{"allOf", {std::move(root)}}};
    if (!made.definitions_.empty()) root["definitions"] = std::move(made.definitions_);
    return root.dump();
  }

 private:
  json Convert(const json& schema) {
    if (!schema.is_object()) return schema;
    json converted = json::object();
    for (const auto& [keyword, value] : schema.items()) {
      if (Contains(kAnnotations, keyword)) continue;
      converted[keyword] = ConvertKeyword(keyword, value);
    }
    return converted;
  }

  json ConvertKeyword(const std::string& keyword, const json& value) {
    if (keyword == "$ref") return Define(value.get<std::string>());
    if (keyword == "properties") {
      json members = json::object();
      for (const auto& [name, member] : value.items()) members[name] = Convert(member);
      return members;
    }
    if (keyword == "allOf" || keyword == "anyOf" || keyword == "oneOf") {
      json schemas = json::array();
      for (const json& one : value) schemas.push_back(Convert(one));
      return schemas;
    }
    static const std::set<std::string> kHoldsSchema{"items", "additionalProperties", "not",
                                                    "contains", "propertyNames"};
    return kHoldsSchema.contains(keyword) ? Convert(value) : value;
  }

  json Define(const std::string& reference) {
    if (!reference.starts_with(kSchemas)) return reference;  // the compiler will refuse it
    const std::string name = reference.substr(kSchemas.size());
    if (!definitions_.contains(name)) {
      definitions_[name] = nullptr;  // ends recursion
      const json* found = Resolve(json{{"$ref", reference}});
      if (found != nullptr) definitions_[name] = Convert(*found);
    }
    return "#/definitions/" + name;
  }

  json definitions_ = json::object();
};

// 2.0 is an integer to OpenAPI's JSON Schema, and not to our validator.
void MakeIntegers(json& value) {
  if (value.is_structured()) {
    for (json& child : value) MakeIntegers(child);
  } else if (value.is_number_float()) {
    const auto number = value.get<double>();
    constexpr double kExact = 9007199254740992.0;
    if (std::trunc(number) == number && std::abs(number) < kExact) {
      value = static_cast<std::int64_t>(number);
    }
  }
}

std::vector<std::string_view> Segments(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) segments.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return segments;
}

bool IsParameter(std::string_view segment) { return segment.starts_with('{'); }

bool Fits(const std::vector<std::string_view>& pattern, const std::vector<std::string_view>& path) {
  if (pattern.size() != path.size()) return false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!IsParameter(pattern[i]) && pattern[i] != path[i]) return false;
  }
  return true;
}

// Like the server's router: a fixed segment beats a parameter. An item with "x-also-at" stands at
// that path, too.
const json* FindPath(std::string_view path) {
  const auto segments = Segments(path);
  const json* best = nullptr;
  std::vector<std::string_view> best_pattern;
  for (const auto& [template_path, item] : OpenApi()["paths"].items()) {
    auto pattern = Segments(template_path);
    if (!Fits(pattern, segments)) {
      const auto second = item.find("x-also-at");
      if (second == item.end()) continue;
      pattern = Segments(second->get_ref<const std::string&>());
      if (!Fits(pattern, segments)) continue;
    }
    bool better = best == nullptr;
    for (std::size_t i = 0; !better && i < pattern.size(); ++i) {
      if (IsParameter(pattern[i]) != IsParameter(best_pattern[i])) {
        better = !IsParameter(pattern[i]);
        break;
      }
    }
    if (!better) continue;
    best = &item;
    best_pattern = pattern;
  }
  return best;
}

std::string TypeOf(const http::Fields& headers) {
  const std::string* type = http::FindField(headers, "Content-Type");
  if (type == nullptr) return "";
  std::string essence = Lower(std::string_view(*type).substr(0, type->find(';')));
  while (essence.ends_with(' ')) essence.pop_back();
  return essence;
}

std::optional<std::string> HeaderProblem(const json& response, const http::Fields& headers) {
  std::set<std::string> documented;
  for (const auto& [name, reference] : MemberOrEmpty(response, "headers").items()) {
    documented.insert(Lower(name));
    const json* header = Resolve(reference);
    if (header == nullptr) return "header " + name + " leads nowhere";
    if (header->value("required", false) && http::FindField(headers, name) == nullptr) {
      return "header " + name + " is missing";
    }
  }
  for (const auto& [name, value] : headers) {
    const std::string lower = Lower(name);
    if (!Contains(kOrdinaryHeaders, lower) && !documented.contains(lower)) {
      return "header " + name + " is not in the document";
    }
  }
  return std::nullopt;
}

std::optional<std::string> JsonProblem(const json& media_type, std::string_view body) {
  const Result<json> parsed = schema::ParseJson(body, kBodyLimits);
  if (!parsed) return "is no JSON: " + parsed.error().message;
  return SchemaProblem(media_type.value("schema", json(true)), *parsed);
}

// Server-Sent Events as we write them: each field once, and one line of data.
std::optional<std::string> EventsProblem(const json& events, std::string_view body) {
  std::size_t end = 0;
  for (; (end = body.find("\n\n")) != body.npos; body.remove_prefix(end + 2)) {
    std::map<std::string, std::string, std::less<>> fields;
    std::string_view block = body.substr(0, end);
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(line.size() + 1, block.size()));
      if (line.starts_with(':')) continue;
      const std::size_t colon = line.find(": ");
      if (colon == line.npos) return "an event has the line \"" + std::string(line) + "\"";
      fields.emplace(line.substr(0, colon), line.substr(colon + 2));
    }
    if (!fields.contains("event")) continue;  // a comment, or when to come back
    const std::string& name = fields["event"];
    if (!events.contains(name)) return "event " + name + " is not in the document";
    if (!fields.contains("id")) return "event " + name + " has no id";
    if (auto problem = JsonProblem({{"schema", events[name]}}, fields["data"])) {
      return "event " + name + ": " + *problem;
    }
  }
  return std::nullopt;
}

// A JSON object a line; empty lines between them do not count. What was cut off is not looked at.
std::optional<std::string> LinesProblem(const json& schema, std::string_view body) {
  std::size_t end = 0;
  for (; (end = body.find('\n')) != body.npos; body.remove_prefix(end + 1)) {
    if (end == 0) continue;
    if (auto problem = JsonProblem({{"schema", schema}}, body.substr(0, end))) {
      return "a line of the answer: " + *problem;
    }
  }
  return std::nullopt;
}

bool IsCut(const HttpExchange& exchange) {
  const std::string* length = http::FindField(exchange.headers, "Content-Length");
  return length != nullptr && std::stoull(*length) > exchange.body.size();
}

std::optional<std::string> AnswerProblem(const json& response, const HttpExchange& exchange) {
  if (auto problem = HeaderProblem(response, exchange.headers)) return problem;
  if (exchange.method == "HEAD" || IsCut(exchange)) return std::nullopt;
  if (!response.contains("content")) {
    if (exchange.body.empty()) return std::nullopt;
    return "a body, where the document has none";
  }
  if (exchange.body.empty() && response.value("x-empty", false)) return std::nullopt;
  const std::string type = TypeOf(exchange.headers);
  const auto media_type = response["content"].find(type);
  if (media_type == response["content"].end()) return "content type \"" + type + "\"";
  if (media_type->contains("x-events")) {
    return EventsProblem((*media_type)["x-events"], exchange.body);
  }
  if (media_type->contains("x-json-lines")) {
    return LinesProblem((*media_type)["x-json-lines"], exchange.body);
  }
  if (type != "application/json") return std::nullopt;
  auto problem = JsonProblem(*media_type, exchange.body);
  if (problem) *problem = "the answer: " + *problem;
  return problem;
}

// Nothing of the document answers here: an error of one of the faces, in its words. Or a program in
// a sandbox, whose words are its own.
std::optional<std::string> StrangerProblem(const HttpExchange& exchange, int expected) {
  if (exchange.target.find("/proxy/") != exchange.target.npos) return std::nullopt;
  if (exchange.status != expected && !Contains(kFraming, exchange.status)) {
    return "is not in the document";
  }
  if (exchange.status == 405 && http::FindField(exchange.headers, "Allow") == nullptr) {
    return "header Allow is missing";
  }
  if (exchange.method == "HEAD" || IsCut(exchange)) return std::nullopt;
  json errors = json::array();
  for (const char* name : {"Error", "ZerobootError", "NcaProblem", "SandboxError"}) {
    errors.push_back({{"$ref", std::string(kSchemas) + name}});
  }
  return JsonProblem({{"schema", {{"anyOf", errors}}}}, exchange.body);
}

}  // namespace

const json& OpenApi() {
  static const json document = json::parse(schema::OpenApiJson());
  return document;
}

const json& MemberOrEmpty(const json& object, const char* name) {
  static const json empty = json::object();
  const auto found = object.find(name);
  return found == object.end() ? empty : *found;
}

const json* Resolve(const json& node) {
  if (!node.is_object() || !node.contains("$ref")) return &node;
  const auto reference = node["$ref"].get<std::string>();
  if (!reference.starts_with("#/")) return nullptr;
  const json::json_pointer pointer(reference.substr(1));
  return OpenApi().contains(pointer) ? &OpenApi().at(pointer) : nullptr;
}

std::optional<std::string> SchemaProblem(const json& schema, const json& value) {
  static std::mutex mutex;
  static std::map<std::string, Result<RequestSchema>> compiled;
  const RequestSchema* checker = nullptr;
  {
    const std::lock_guard lock(mutex);
    const std::string key = schema.dump();
    auto found = compiled.find(key);
    if (found == compiled.end()) {
      found = compiled.emplace(key, RequestSchema::Compile(Draft7::From(schema))).first;
    }
    if (!found->second) return "its schema is no good: " + found->second.error().message;
    checker = &*found->second;
  }
  json counted = value;
  MakeIntegers(counted);
  const Result<void> fits = checker->Validate(counted);
  if (fits) return std::nullopt;
  return fits.error().message;
}

std::optional<std::string> OpenApiProblem(const HttpExchange& exchange) {
  const std::string_view path = exchange.target.substr(0, exchange.target.find('?'));
  const json* const item = FindPath(path);
  if (item == nullptr) return StrangerProblem(exchange, 404);
  auto operation = item->find(Lower(exchange.method));
  if (operation == item->end() && exchange.method == "HEAD") operation = item->find("get");
  if (operation == item->end()) return StrangerProblem(exchange, 405);

  const json& responses = (*operation)["responses"];
  const auto documented = responses.find(std::to_string(exchange.status));
  if (documented == responses.end()) return "is not in the document";
  const json* const response = Resolve(*documented);
  if (response == nullptr) return "leads nowhere in the document";
  if (auto problem = AnswerProblem(*response, exchange)) return problem;

  const bool taken = exchange.status >= 200 && exchange.status < 300;
  if (!taken || exchange.request_body.empty() || !operation->contains("requestBody")) return {};
  const auto media_type =
      (*operation)["requestBody"]["content"].find(TypeOf(exchange.request_headers));
  if (media_type == (*operation)["requestBody"]["content"].end()) return {};
  auto problem = JsonProblem(*media_type, exchange.request_body);
  if (problem) *problem = "the request, which was taken: " + *problem;
  return problem;
}

void CheckAgainstOpenApi(const HttpExchange& exchange) {
  if (exchange.status == 0) return;
  const auto problem = OpenApiProblem(exchange);
  if (!problem) return;
  constexpr std::size_t kShown = 600;
  ADD_FAILURE() << "schema/openapi.yaml: " << exchange.method << " " << exchange.target << ": "
                << exchange.status << ": " << *problem << "\n"
                << exchange.body.substr(0, kShown);
}

}  // namespace forkbox::testing
