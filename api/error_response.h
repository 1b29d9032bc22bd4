// The HTTP status of an Error: one switch for all dialects, which shape the body each their way.
#pragma once

#include "base/result.h"

namespace forkbox::api {

int HttpStatusOf(ErrorCode code);

}  // namespace forkbox::api
