// SQLite makes every path absolute before it opens it, and so needs the right to walk there from
// "/". A server that has dropped root may not have it (a data directory below /root), although it
// stands in that directory.
#pragma once

#include "base/result.h"

namespace forkbox::cli {

// From now on SQLite opens what lies below the working directory relative to it. For the whole
// process; once, before the first database is opened, and the working directory must
// stay what it is.
Result<void> UseRelativeSqlitePaths();

}  // namespace forkbox::cli
