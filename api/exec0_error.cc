#include "api/exec0_error.h"

#include <cstddef>
#include <utility>

#include "api/error_response.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kJsonType = "application/json";

std::string Dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// The value at "a.b[2]", the paths that schema/schema_problem.h makes; null when there is none.
const json* ValueAt(const json& body, std::string_view path) {
  const json* value = &body;
  while (!path.empty()) {
    if (path.front() == '[') {
      const std::size_t end = path.find(']');
      if (end == std::string_view::npos || !value->is_array()) return nullptr;
      std::size_t index = 0;
      for (const char digit : path.substr(1, end - 1)) {
        if (digit < '0' || digit > '9' || index > value->size()) return nullptr;
        index = index * 10 + static_cast<std::size_t>(digit - '0');
      }
      if (index >= value->size()) return nullptr;
      value = &(*value)[index];
      path.remove_prefix(end + 1);
    } else {
      if (path.front() == '.') path.remove_prefix(1);
      const std::string name(path.substr(0, path.find_first_of(".[")));
      if (name.empty() || !value->is_object()) return nullptr;
      const auto found = value->find(name);
      if (found == value->end()) return nullptr;
      value = &*found;
      path.remove_prefix(name.size());
    }
  }
  return value;
}

std::string Count(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

std::string_view Exec0ErrorCode(int status) {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 405:
      return "method_not_allowed";
    case 409:
      return "conflict";
    case 429:
      return "rate_limit_exceeded";
    case 503:
      return "unavailable";
    default:
      return status < 500 ? "validation_error" : "internal_error";
  }
}

std::string Exec0ErrorBody(const Exec0Problem& problem) {
  return Dump({{"error", Exec0ErrorCode(problem.status)},
               {"message", problem.message},
               {"details", problem.details}});
}

void SendExec0Problem(http::Reply& reply, const Exec0Problem& problem) {
  http::Fields headers = problem.headers;
  headers.push_back({"Cache-Control", "no-store"});
  reply.Send(problem.status, kJsonType, Exec0ErrorBody(problem), headers);
}

Exec0Problem ToExec0Problem(const Refusal& refusal) {
  Exec0Problem problem{
      .status = refusal.status, .message = refusal.message, .headers = refusal.headers};
  if (refusal.status == 429) problem.details = {{"reason", "rate"}, {"limit", refusal.limit}};
  return problem;
}

Exec0Problem ToExec0Problem(const Error& error) {
  Exec0Problem problem{.status = HttpStatusOf(error.code), .message = error.message};
  if (problem.status == 503) problem.headers.push_back({"Retry-After", "1"});
  return problem;
}

Exec0Problem InvalidField(std::string_view field, std::string_view limit, ordered_json received) {
  return {.status = 400,
          .message = std::string(field) + ": must be " + std::string(limit),
          .details = {{"field", field}, {"limit", limit}, {"received", std::move(received)}}};
}

Exec0Problem InvalidBody(const Error& error, const json& body) {
  Exec0Problem problem = ToExec0Problem(error);
  const std::string_view message = problem.message;
  const std::size_t colon = message.find(": ");
  if (problem.status != 400 || colon == std::string_view::npos) return problem;
  const std::string_view field = message.substr(0, colon);
  std::string_view limit = message.substr(colon + 2);
  if (limit.starts_with("must be ")) limit.remove_prefix(8);
  ordered_json details{{"field", field}, {"limit", limit}};
  const json* value = ValueAt(body, field);
  if (value == nullptr && field == "body") value = &body;
  details["received"] = value == nullptr ? ordered_json("nothing") : Received(*value);
  problem.details = std::move(details);
  return problem;
}

ordered_json Received(const json& value) {
  switch (value.type()) {
    case json::value_t::string: {
      // Characters, not bytes: it is UTF-8, so every byte but the continuing ones begins one.
      std::size_t characters = 0;
      for (const char byte : value.get_ref<const std::string&>()) {
        if ((static_cast<unsigned char>(byte) & 0xC0) != 0x80) ++characters;
      }
      return "a string of " + Count(characters, "character");
    }
    case json::value_t::array:
      return "an array of " + Count(value.size(), "item");
    case json::value_t::object:
      return "an object";
    default:
      return ordered_json(value);
  }
}

void SendExec0(http::Reply& reply, int status, const ordered_json& body, http::Fields headers) {
  headers.push_back({"Cache-Control", "no-store"});
  reply.Send(status, kJsonType, Dump(body), headers);
}

}  // namespace forkbox::api
