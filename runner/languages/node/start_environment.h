// What in a job's environment takes effect only when Node starts. A warmed copy has started long
// ago, so a job with such a variable is run by a new node process instead: slower, never wrong.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace forkbox::javascript {

using Environment = std::vector<std::pair<std::string, std::string>>;

// Drops what no job may have: NODE_EXTRA_CA_CERTS names a file of the host and makes every start
// of Node parse all root certificates.
void StripForbidden(Environment* environment);

// Takes FORKBOX_SOURCE_MAPS out, which languages that are transpiled to JavaScript set in their
// manifest: stack traces are to name the lines of the source. True if it was there.
bool TakeSourceMaps(Environment* environment);

bool NeedsRealStart(const Environment& environment);

}  // namespace forkbox::javascript
