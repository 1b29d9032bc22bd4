// Finds the browser bundle of the documentation page in this installation.
#pragma once

#include <memory>

#include "api/docs.h"
#include "base/log.h"

namespace forkbox::cli {

// Beside the program, as the build leaves it or as it is installed. Without it everything works but
// that page, which then is of links only: the log says so. To be called before privileges are
// dropped, since a service user may not see the build of whoever started it.
std::shared_ptr<const api::DocsBundle> FindDocsBundle(const Log& log);

}  // namespace forkbox::cli
