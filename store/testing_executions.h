// Rows for tests.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/uuid.h"
#include "schema/execution.h"
#include "store/sql_text.h"

namespace forkbox::store {

// With a fresh id.
inline schema::Execution NewExecution(std::string code = "print(1)",
                                      std::int64_t created_unix_ms = 1'000) {
  schema::Execution execution;
  execution.id = schema::ExecutionId(NewUuidV7());
  execution.owner = schema::OwnerId("owner-1");
  execution.dialect = "zeroboot";
  execution.language = "python";
  execution.source.code = std::move(code);
  execution.created_unix_ms = created_unix_ms;
  return execution;
}

// Accepted then, also by its id.
inline schema::Execution NewExecutionAt(std::int64_t unix_ms) {
  schema::Execution execution = NewExecution("print(1)", unix_ms);
  const std::string time = FirstIdOf(unix_ms);
  execution.id = schema::ExecutionId(time + execution.id.str().substr(time.size()));
  return execution;
}

inline schema::Execution NewExecutionWithWebhook() {
  schema::Execution execution = NewExecution();
  execution.webhook_url = "https://receiver.example/hook";
  return execution;
}

inline schema::Outcome CompletedWith(std::string stdout_text) {
  schema::Outcome outcome;
  outcome.state = schema::State::kCompleted;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.stdout_text = std::move(stdout_text);
  return outcome;
}

}  // namespace forkbox::store
