// What API processes ask of the runners that have sandboxes: HTTP with JSON, between processes of
// the same version and of neighbouring ones, never from clients.
//
//   POST   /internal/sandboxes                        a spec: 201 and the record when it runs and
//                                                     its row is written
//   POST   /internal/sandboxes/{id}/fork              a spec: the same
//   POST   /internal/sandboxes/{id}/pause, resume     200
//   POST   /internal/sandboxes/{id}/renew             {"expires_unix_ms"}: 200
//   DELETE /internal/sandboxes/{id}                   200; of one that is not there yet: 404, and
//   it
//                                                     will not be made
//
// Each with the runner's own token in X-Forkbox-Control. Anything else answers
// {"code":"not_found","message":"…"} with a word of base/result.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runner/sandboxes/sandbox_host.h"

namespace forkbox::api {

inline constexpr char kControlHeader[] = "X-Forkbox-Control";
inline constexpr char kControlRoot[] = "/internal/sandboxes";

std::string SpecToJson(const sandboxes::SandboxSpec& spec);
// kInvalidArgument names the member.
Result<sandboxes::SandboxSpec> SpecFromJson(std::string_view text);

// What a runner answers when it has made one.
std::string RecordToJson(const store::SandboxRecord& record);
// Null for what is no record: neighbouring versions answer "{}".
std::optional<store::SandboxRecord> RecordFromJson(std::string_view text);

std::string ControlErrorBody(const Error& error);
Error ControlErrorOf(long status, std::string_view body);

}  // namespace forkbox::api
