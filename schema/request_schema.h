// RequestSchema: one JSON Schema (draft 7) of a request body, compiled once and used for every
// request. The schemas are the files of schema/requests/, compiled into the program.
//
// Immutable, so thread-safe; copies are cheap and share the compiled form.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forkbox::schema {

class RequestSchema {
 public:
  // `name` is that of the file, without ".json": "zeroboot_exec". kNotFound for any other.
  // kInternal for a schema that is not usable, see Compile.
  static Result<RequestSchema> Load(std::string_view name);
  static std::vector<std::string_view> Names();

  // Takes the keywords of draft 7 and refuses the rest, because the validator would ignore them
  // without a word. Refused too: `pattern`, `patternProperties` and `format`, whose regular
  // expressions overflow the stack or take exponential time on hostile text; `uniqueItems`, which
  // takes quadratic time; `$id`, and a `$ref` to anything but the `definitions` of the root.
  // kInvalidArgument says where.
  static Result<RequestSchema> Compile(std::string_view schema_text);

  // `request` comes from ParseJson, which bounds its depth and size. kInvalidArgument names the
  // first field that does not fit and what would: "executions[2].timeout_seconds: must be a
  // non-negative integer". The message quotes nothing of the request but names of members.
  [[nodiscard]] Result<void> Validate(const nlohmann::json& request) const;

 private:
  struct Compiled;
  explicit RequestSchema(std::shared_ptr<const Compiled> compiled);

  std::shared_ptr<const Compiled> compiled_;  // shared: copies differ in nothing
};

}  // namespace forkbox::schema
