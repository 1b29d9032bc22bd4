// One execution as clients of /api/v1 see it, whatever dialect it came by: the object of Exec0's
// specification, and beside its members ours (state, reason, timings, tests, …).
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "store/execution_store.h"

namespace forkbox::api {

struct DocumentForm {
  std::size_t max_text_bytes = static_cast<std::size_t>(-1);  // of each stream and of the value
  bool with_tests = true;
  bool whole_row = true;  // false: how often and when it was begun is not known here
};

// `status` is one of the specification's four words: `running` is whatever has not ended.
nlohmann::ordered_json ToDocument(const store::ExecutionRecord& record,
                                  const DocumentForm& form = {});

// The same as valid JSON of one line.
std::string ExecutionDocument(const store::ExecutionRecord& record);

}  // namespace forkbox::api
