// PythonSchema: a request schema of schema/requests that says what is wrong in the very words of
// Python's jsonschema, for clients that know them: "301 is greater than the maximum of 300". Of
// several complaints it makes the one that jsonschema.validate() raises.
//
// It knows the keywords that such requests need, for one level of members: type, required,
// properties, additionalProperties, minimum, maximum. Immutable, so thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::api {

class PythonSchema {
 public:
  // `name` is that of the file, without ".json". kInternal when there is none, or it uses other
  // keywords.
  static Result<PythonSchema> Load(std::string_view name);

  // As draft 7 has it: 2.0 is an integer, true is no number. Null: it fits.
  [[nodiscard]] std::optional<std::string> Complaint(const nlohmann::json& request) const;

 private:
  explicit PythonSchema(nlohmann::json schema) : schema_(std::move(schema)) {}

  nlohmann::json schema_;
};

}  // namespace forkbox::api
