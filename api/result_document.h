// ResultDocument: what became of an execution in the words of the dialect it came by. It is the
// body of a webhook, so it is made from the record alone, by whichever process sends that.
#pragma once

#include <cstdint>
#include <string>

#include "store/execution_store.h"

namespace forkbox::api {

// JSON. `background_waiting`: how many executions wait in that lane now.
std::string ResultDocument(const store::ExecutionRecord& record, std::uint64_t background_waiting);

}  // namespace forkbox::api
