// From a URL in the configuration to a store.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "store/execution_store.h"

namespace forkbox::store {

// "sqlite:PATH", the path relative to the working directory or absolute. Creates and migrates what
// is not there yet. kInvalidArgument for another kind of URL; otherwise as SqliteDatabase::Open
// and Migrate say. Messages name the path.
Result<std::unique_ptr<ExecutionStore>> OpenExecutionStore(const std::string& url, Log log);

}  // namespace forkbox::store
