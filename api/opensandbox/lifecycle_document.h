// What the lifecycle API shows of sandboxes (reference 14.4).
#pragma once

#include <nlohmann/json.hpp>

#include "store/sandbox_store.h"

namespace forkbox::api {

// `with_image` is false in the answer to a create.
nlohmann::ordered_json SandboxDocument(const store::SandboxRecord& record, bool with_image = true);

nlohmann::ordered_json SandboxPageDocument(const store::SandboxPage& page,
                                           const store::SandboxQuery& query);

}  // namespace forkbox::api
