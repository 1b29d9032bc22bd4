// The id of an execution as the clients of /api/v1 see it. There is one id: Exec0 writes it
// "exec_" and 32 hexadecimal digits, everybody else as the UUID that these digits are. Whoever asks
// for an execution may use either.
#pragma once

#include <string>
#include <string_view>

#include "schema/execution.h"

namespace forkbox::api {

// "exec_019c7f…"; an id that is no UUID stays as it is.
std::string Exec0Id(const schema::ExecutionId& id);

// As the dialect it came by shows it.
std::string ShownId(const schema::Execution& execution);

// The id that `text` stands for; what has neither form stays as it is and is merely unknown.
schema::ExecutionId ToExecutionId(std::string_view text);

}  // namespace forkbox::api
