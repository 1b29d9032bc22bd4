// Whether a request says that its body is JSON.
#pragma once

#include <string>

namespace forkbox::api {

// "application/json", "application/anything+json", any case, parameters ignored. Null is no type.
bool IsJsonType(const std::string* content_type);

}  // namespace forkbox::api
