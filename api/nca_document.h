// The answers of the NCA dialect: one envelope around everything. Pure functions; the result of an
// execution is made from its record alone, so that any process can make it.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "store/execution_store.h"

namespace forkbox::api {

inline constexpr std::string_view kNcaExecutePath = "/v1/code/execute/python";

// Who took the request: in every answer about it, whoever makes that.
struct NcaProcess {
  std::int64_t pid = 0;
  std::uint64_t queue_id = 0;  // the same for the life of a process; below 2^53
};

// What an execution remembers of its request: its dialect_context.
struct NcaContext {
  NcaProcess process = {};
  std::string timeout = {};  // as it was given: "2.0"
  bool has_id = false;       // the id itself is the client_reference; it may be ""
  bool stderr_is_error = true;

  [[nodiscard]] std::string ToText() const;
  // What is missing or damaged has its default.
  static NcaContext FromText(std::string_view text);
};

struct NcaReply {
  int status = 200;
  std::string body;
};

struct NcaEnvelope {
  std::string_view endpoint = {};
  int code = 200;
  std::optional<std::string> id = {};
  std::string job_id = {};
  std::string response = "null";       // JSON text
  nlohmann::json message = "success";  // an object with `error` is shown at the top level, too
  std::chrono::milliseconds queued{0};
  std::chrono::milliseconds ran{0};
  NcaProcess process = {};
  std::uint64_t queue_length = 0;
};
NcaReply NcaAnswer(const NcaEnvelope& envelope);

// The result of a finished execution: the synchronous reply, the webhook's body, what job/status
// holds. `queue_length`: how many wait in the background lane now.
NcaReply NcaDocument(const store::ExecutionRecord& record, std::uint64_t queue_length);

// 202: exactly nine members. 429: exactly eight.
NcaReply NcaAccepted(const schema::ExecutionId& id, const std::optional<std::string>& client_id,
                     const NcaProcess& process, std::uint64_t queue_length,
                     std::uint64_t max_queue_length);
NcaReply NcaRefused(const schema::ExecutionId& id, const std::optional<std::string>& client_id,
                    const NcaProcess& process, std::uint64_t queue_length, std::string message);

// What job/status says of a job. `response`: its final answer as JSON text, "null" before.
std::string NcaJobRecord(const schema::ExecutionId& id, const NcaProcess& process,
                         schema::State state, const std::string& response);
// "queued", "running", "done".
std::string_view NcaJobStatus(schema::State state);

}  // namespace forkbox::api
