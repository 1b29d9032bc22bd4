// The OpenAPI 3.1 document of every face, from schema/openapi.yaml. Their definition is generated
// (schema/embed_openapi.py).
#pragma once

#include <string_view>

namespace forkbox::schema {

std::string_view OpenApiJson();
std::string_view OpenApiYaml();

}  // namespace forkbox::schema
