// The store of a server that may be running, for the commands that manage its accounts.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "store/store.h"

namespace forkbox::cli {

// Whether to make a data directory and a database where there is none.
enum class IfMissing { kMake, kFail };

// `database` as for `forkbox serve`; "" for the one in the data directory. In the data directory
// root gives itself up for good for whoever owns it, so that nothing there becomes root's: read
// what only root can read before. At most once in a process. kInvalidArgument: not a database's
// URL, or somebody else's directory. kNotFound: there is none.
Result<std::unique_ptr<store::Store>> OpenServerStore(const std::string& database,
                                                      const std::string& data_dir,
                                                      IfMissing if_missing);

// For messages: the URL without its password, or the path of the file.
std::string ServerStoreName(const std::string& database, const std::string& data_dir);

}  // namespace forkbox::cli
