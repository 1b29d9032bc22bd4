// The files of schema/requests/, as the build found them. Their definition is generated.
#pragma once

#include <span>
#include <string_view>

namespace forkbox::schema {

struct EmbeddedSchema {
  std::string_view name;  // the file's, without ".json"
  std::string_view text;
};

std::span<const EmbeddedSchema> EmbeddedSchemas();

}  // namespace forkbox::schema
