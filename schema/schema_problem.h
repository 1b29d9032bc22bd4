// Finds what is wrong with a value that a schema refused, and says it in words for the sender.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace forkbox::schema {

// "path: must be …" for the first problem, depth first in the order of the document; null when
// there is none. `schema` is one that RequestSchema::Compile took; `root` is where "#/…" begins.
//
// The validator's own messages talk of constraints and keep a record of every failure, which a
// hostile array makes large; so it only says yes or no and the one message is made here.
std::optional<std::string> FindSchemaProblem(const nlohmann::json& root,
                                             const nlohmann::json& schema,
                                             const nlohmann::json& value, const std::string& path);

}  // namespace forkbox::schema
