#include "api/result_document.h"

#include "api/execution_document.h"
#include "api/nca_document.h"

namespace forkbox::api {

std::string ResultDocument(const store::ExecutionRecord& record, std::uint64_t background_waiting) {
  if (record.execution.dialect == "nca") return NcaDocument(record, background_waiting).body;
  return ExecutionDocument(record);
}

}  // namespace forkbox::api
