// The OpenAPI document by itself: that it hangs together, that its examples are true, and that the
// check of answers against it sees what it should.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>

#include "tests/api/openapi_contract.h"

namespace forkbox::testing {
namespace {

using nlohmann::json;

const std::set<std::string> kMethods{"get", "put", "post", "delete", "options", "patch"};

// Every operation of the paths, with its name: "get /api/v1/queue".
void ForEachOperation(
    const std::function<void(const std::string&, const json& item, const json& operation)>& visit) {
  for (const auto& [path, item] : OpenApi()["paths"].items()) {
    for (const auto& [method, operation] : item.items()) {
      if (kMethods.contains(method)) visit(method + " " + path, item, operation);
    }
  }
}

// Every object and array below `node`, with its place.
void ForEachNode(const json& node, const std::string& place,
                 const std::function<void(const std::string&, const json&)>& visit) {
  visit(place, node);
  if (node.is_object()) {
    for (const auto& [name, child] : node.items()) ForEachNode(child, place + "/" + name, visit);
  } else if (node.is_array()) {
    for (std::size_t i = 0; i < node.size(); ++i) {
      ForEachNode(node[i], place + "/" + std::to_string(i), visit);
    }
  }
}

TEST(OpenApiDocument, IsOf31AndHasAVersion) {
  EXPECT_EQ(OpenApi()["openapi"], "3.1.0");
  EXPECT_FALSE(OpenApi()["info"]["version"].get<std::string>().starts_with("@"));
  EXPECT_FALSE(OpenApi().contains("x-anchors"));
}

TEST(OpenApiDocument, EveryReferenceLeadsSomewhere) {
  std::size_t references = 0;
  ForEachNode(OpenApi(), "#", [&](const std::string& place, const json& node) {
    if (!node.is_object() || !node.contains("$ref")) return;
    ++references;
    EXPECT_EQ(node.size(), 1U) << place << ": what stands beside a $ref is not seen by everybody";
    EXPECT_NE(Resolve(node), nullptr) << place << ": " << node["$ref"];
  });
  EXPECT_GT(references, 100U);
}

TEST(OpenApiDocument, NothingIsLeftOver) {
  std::set<std::string> used;
  ForEachNode(OpenApi(), "#", [&](const std::string&, const json& node) {
    if (node.is_object() && node.contains("$ref")) used.insert(node["$ref"].get<std::string>());
  });
  for (const char* kind : {"schemas", "responses", "headers"}) {
    for (const auto& [name, component] : OpenApi()["components"][kind].items()) {
      const std::string place = std::string("#/components/") + kind + "/" + name;
      EXPECT_TRUE(used.contains(place)) << place << " is used by nothing";
    }
  }
}

TEST(OpenApiDocument, OperationsHaveNamesOfTheirOwnAndSayWhatTheyDo) {
  std::set<std::string> tags;
  for (const json& tag : OpenApi()["tags"]) tags.insert(tag["name"].get<std::string>());
  std::map<std::string, std::string> ids;
  ForEachOperation([&](const std::string& name, const json&, const json& operation) {
    const auto [other, is_new] = ids.emplace(operation.value("operationId", ""), name);
    EXPECT_TRUE(is_new) << name << " has the operationId of " << other->second;
    EXPECT_FALSE(operation.value("summary", "").empty()) << name;
    ASSERT_EQ(operation.value("tags", json::array()).size(), 1U) << name;
    EXPECT_TRUE(tags.contains(operation["tags"][0].get<std::string>())) << name;
  });
  EXPECT_FALSE(ids.contains(""));
}

TEST(OpenApiDocument, PathParametersAreDeclared) {
  ForEachOperation([](const std::string& name, const json& item, const json& operation) {
    std::set<std::string> declared;
    for (const json* owner : {&item, &operation}) {
      for (const json& reference : owner->value("parameters", json::array())) {
        const json& parameter = *Resolve(reference);
        EXPECT_TRUE(parameter.contains("schema")) << name;
        if (parameter["in"] != "path") continue;
        EXPECT_TRUE(parameter.value("required", false)) << name;
        declared.insert(parameter["name"].get<std::string>());
      }
    }
    std::set<std::string> used;
    for (std::size_t at = name.find('{'); at != std::string::npos; at = name.find('{', at + 1)) {
      used.insert(name.substr(at + 1, name.find('}', at) - at - 1));
    }
    EXPECT_EQ(used, declared) << name;
  });
}

TEST(OpenApiDocument, EveryErrorHasASchemaAndEveryAnswerARequestId) {
  ForEachOperation([](const std::string& name, const json&, const json& operation) {
    EXPECT_FALSE(operation["responses"].contains("default")) << name;
    for (const auto& [status, reference] : operation["responses"].items()) {
      const json& response = *Resolve(reference);
      EXPECT_FALSE(response.value("description", "").empty()) << name << " " << status;
      EXPECT_TRUE(MemberOrEmpty(response, "headers").contains("X-Request-Id"))
          << name << " " << status;
      if (status < "400") continue;
      ASSERT_TRUE(response.contains("content")) << name << " " << status;
      EXPECT_TRUE(response["content"]["application/json"].contains("schema"))
          << name << " " << status;
    }
    // What the server may say to any request.
    for (const char* status : {"400", "408", "413", "414", "417", "431", "500", "501", "503"}) {
      EXPECT_TRUE(operation["responses"].contains(status)) << name << " " << status;
    }
  });
}

// An answer's object that takes anything hides what is new in it. Closed, or a map of something.
TEST(OpenApiDocument, ObjectsOfAnswersAreClosed) {
  std::set<std::string> seen;
  std::function<void(const std::string&, const json&)> walk = [&](const std::string& place,
                                                                  const json& schema) {
    if (!schema.is_object()) return;
    if (schema.contains("$ref")) {
      const auto reference = schema["$ref"].get<std::string>();
      if (seen.insert(reference).second) walk(reference, *Resolve(schema));
      return;
    }
    if (schema.contains("properties")) {
      EXPECT_TRUE(schema.contains("additionalProperties")) << place;
      for (const auto& [name, member] : schema["properties"].items()) {
        walk(place + "/" + name, member);
      }
    }
    for (const char* list : {"anyOf", "oneOf", "allOf"}) {
      for (const json& one : schema.value(list, json::array())) walk(place + "/" + list, one);
    }
    if (schema.contains("items")) walk(place + "/items", schema["items"]);
    if (schema.contains("additionalProperties")) {
      walk(place + "/additionalProperties", schema["additionalProperties"]);
    }
  };
  ForEachOperation([&](const std::string& name, const json&, const json& operation) {
    for (const auto& [status, reference] : operation["responses"].items()) {
      const json& response = *Resolve(reference);
      for (const auto& [type, media] : MemberOrEmpty(response, "content").items()) {
        walk(name + " " + status, media.value("schema", json::object()));
      }
    }
  });
  EXPECT_GT(seen.size(), 10U);
}

TEST(OpenApiDocument, ExamplesFitTheirSchemas) {
  std::size_t examples = 0;
  const auto check = [&](const std::string& place, const json& schema, const json& value) {
    ++examples;
    const auto problem = SchemaProblem(schema, value);
    EXPECT_FALSE(problem) << place << ": " << *problem;
  };
  ForEachNode(OpenApi(), "#", [&](const std::string& place, const json& node) {
    if (!node.is_object()) return;
    // A media type, a parameter or a header.
    if (node.contains("schema")) {
      if (node.contains("example")) check(place + "/example", node["schema"], node["example"]);
      for (const auto& [name, example] : MemberOrEmpty(node, "examples").items()) {
        check(place + "/examples/" + name, node["schema"], example["value"]);
      }
    }
    // A schema.
    if (node.contains("type") && node.contains("examples") && node["examples"].is_array()) {
      for (const json& example : node["examples"]) check(place + "/examples", node, example);
    }
  });
  EXPECT_GT(examples, 10U);
}

// A body that one can send needs an example that one can send.
TEST(OpenApiDocument, RequestsHaveExamples) {
  ForEachOperation([](const std::string& name, const json&, const json& operation) {
    if (!operation.contains("requestBody")) return;
    for (const auto& [type, media] : operation["requestBody"]["content"].items()) {
      EXPECT_TRUE(media.contains("example") || media.contains("examples")) << name << " " << type;
    }
  });
}

TEST(OpenApiDocument, EverySchemaCanBeChecked) {
  for (const auto& [name, schema] : OpenApi()["components"]["schemas"].items()) {
    const auto problem = SchemaProblem({{"$ref", "#/components/schemas/" + name}}, json(nullptr));
    if (problem) {
      EXPECT_EQ(problem->find("no good"), std::string::npos) << name << ": " << *problem;
    }
  }
}

// ---- the check of answers -----------------------------------------------------------------------

struct Sample {
  const char* what;
  const char* method;
  const char* target;
  int status;
  http::Fields headers;
  std::string body;
  const char* problem;  // what the problem must say; null when there must be none
};

TEST(OpenApiContract, SeesWhatDoesNotFit) {
  const std::pair<std::string, std::string> id{"X-Request-Id", "1"};
  const std::pair<std::string, std::string> type{"content-type", "Application/JSON; charset=utf-8"};
  const std::string result =
      R"({"id":"1","stdout":"","stderr":"","exit_code":0,"fork_time_ms":0,"exec_time_ms":1,)"
      R"("total_time_ms":1.5)";
  const std::string error = R"({"error":"no"})";
  const http::Fields events{id, {"Content-Type", "text/event-stream"}};
  const std::vector<Sample> samples{
      {"as documented", "POST", "/v1/exec?x=1", 200, {id, type}, result + "}", nullptr},
      {"a doubled slash", "POST", "//v1//exec/", 200, {id, type}, result + "}", nullptr},
      {"a new member", "POST", "/v1/exec", 200, {id, type}, result + R"(,"new":1})", "new"},
      {"a member missing", "POST", "/v1/exec", 200, {id, type}, "{}", "id"},
      {"a status", "POST", "/v1/exec", 418, {id, type}, error, "not in the document"},
      {"no id", "POST", "/v1/exec", 200, {type}, result + "}", "X-Request-Id is missing"},
      {"a new header", "POST", "/v1/exec", 200, {id, type, {"X-New", ""}}, result + "}", "X-New"},
      {"429 without Retry-After", "POST", "/v1/exec", 429, {id, type}, error, "Retry-After"},
      {"another type", "POST", "/v1/exec", 200, {id, {"Content-Type", "text/html"}}, "<p>", "html"},
      {"no type", "POST", "/v1/exec", 200, {id}, result + "}", "content type"},
      {"no JSON", "POST", "/v1/exec", 200, {id, type}, "{", "no JSON"},
      {"a face's own error", "GET", "/api/v1/queue", 401, {id, type}, error, "message"},
      {"a body for 304",
       "GET",
       "/openapi.json",
       304,
       {id, type, {"ETag", "1"}, {"Cache-Control", "no"}},
       error,
       "a body"},
      {"HEAD is GET", "HEAD", "/health", 200, {id, type}, "", nullptr},
      {"nothing there", "GET", "/nowhere", 404, {id, type}, error, nullptr},
      {"something there", "GET", "/nowhere", 200, {id, type}, "{}", "not in the document"},
      {"another method", "PUT", "/v1/exec", 405, {id, type, {"Allow", "POST"}}, error, nullptr},
      {"no Allow", "PUT", "/v1/exec", 405, {id, type}, error, "Allow"},
      {"a method that works", "PUT", "/v1/exec", 200, {id, type}, result + "}", "not in the"},
      {"events", "GET", "/executions/1/events", 200, events,
       "retry: 1000\n\n:\n\nid: r-1\nevent: stdout\ndata: {\"text\":\"a\"}\n\nid: cut", nullptr},
      {"a new event", "GET", "/executions/1/events", 200, events, "id: 1\nevent: new\ndata: {}\n\n",
       "event new"},
      {"an event's data", "GET", "/executions/1/events", 200, events,
       "id: 1\nevent: state\ndata: {\"state\":\"bored\"}\n\n", "state"},
      {"an event's id", "GET", "/executions/1/events", 200, events,
       "event: stdout\ndata: {\"text\":\"a\"}\n\n", "no id"},
      {"no answer", "GET", "/api/v1/executions/1", 200, {id, type}, "{}", "id"},
      {"a second path",
       "GET",
       "/sandboxes/1/pause",
       405,
       {id, type, {"Allow", "POST"}},
       R"({"code":"a","message":"b"})",
       nullptr},
      {"at it", "POST", "/sandboxes/1/pause", 200, {id}, "", "not in the document"},
      {"a program's", "PUT", "/v1/sandboxes/1/proxy/80/x", 299, {{"X-Own", "1"}}, "own", nullptr},
      {"lines", "POST", "/sandboxes/1/proxy/44772/code", 200, events, "?", nullptr},
      {"a line", "POST", "/v1/sandboxes/1/proxy/44772/code", 200, events,
       "{\"type\":\"ping\",\"timestamp\":1}\n\n{\"type\":\"bored\",\"timestamp\":1}\n\n{", "type"},
      {"nothing, which may be",
       "POST",
       "/v1/sandboxes/1/proxy/44772/files/replace",
       200,
       {id},
       "",
       nullptr},
      {"nothing, which may not be", "GET", "/v1/sandboxes/1", 200, {id}, "", "content type"},
  };
  const http::Fields none;
  for (const Sample& sample : samples) {
    const auto problem = OpenApiProblem({.method = sample.method,
                                         .target = sample.target,
                                         .request_headers = none,
                                         .request_body = "",
                                         .status = sample.status,
                                         .headers = sample.headers,
                                         .body = sample.body});
    if (sample.problem == nullptr) {
      EXPECT_FALSE(problem) << sample.what << ": " << *problem;
    } else {
      ASSERT_TRUE(problem) << sample.what;
      EXPECT_NE(problem->find(sample.problem), std::string::npos)
          << sample.what << ": " << *problem;
    }
  }
}

TEST(OpenApiContract, ARequestThatWasTakenMustFit) {
  const http::Fields json_type{{"Content-Type", "application/json"}};
  const http::Fields headers{{"X-Request-Id", "1"}, {"Content-Type", "application/json"}};
  const auto problem = OpenApiProblem({.method = "POST",
                                       .target = "/v1/exec/batch",
                                       .request_headers = json_type,
                                       .request_body = R"({"executions":[{"code":1}]})",
                                       .status = 200,
                                       .headers = headers,
                                       .body = R"({"results":[]})"});
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->find("executions[0].code"), std::string::npos) << *problem;
}

}  // namespace
}  // namespace forkbox::testing
