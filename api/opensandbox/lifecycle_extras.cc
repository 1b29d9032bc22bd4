// What of the lifecycle API is ours, and what there is not.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/opensandbox/lifecycle_document.h"
#include "api/opensandbox/lifecycle_face.h"
#include "api/opensandbox/lifecycle_query.h"
#include "base/uuid.h"

namespace forkbox::api {

using nlohmann::json;
using nlohmann::ordered_json;
using store::SandboxState;

void LifecycleFace::Diagnostics(Asked& asked) {
  const auto record = Find(asked);
  if (!record) return;
  const std::string what = asked.call.Param(":what");
  if (what == "inspect" || what == "summary") {
    ordered_json document = SandboxDocument(*record);
    document["runner"] = record->runner_id;
    const json request = json::parse(record->request, nullptr, false);
    if (request.is_object() && request.contains("resourceLimits")) {
      document["resourceLimits"] = request["resourceLimits"];
    }
    return SendLifecycleJson(asked.call.reply, 200, document);
  }
  if (what == "logs" || what == "events") {
    return SendLifecycleProblem(asked.call.reply,
                                NotSupported("diagnostics/" + what + ": only inspect and summary"));
  }
  SendLifecycleProblem(asked.call.reply,
                       {.status = 404, .code = "NOT_FOUND", .message = "there is no such path"});
}

void LifecycleFace::StartFork(std::shared_ptr<Asked> asked) {
  const http::Reply reply = asked->call.reply;
  // One account has one at a time.
  if (parts_.admission.enabled()) {
    const std::string owner = asked->identity.owner.str();
    {
      const std::lock_guard lock(mutex_);
      if (!forking_.insert(owner).second) {
        return SendLifecycleProblem(reply, {.status = 429,
                                            .code = "SANDBOX::TOO_MANY_FORKS",
                                            .message = "this account has a fork under way; an "
                                                       "account may have one at a time",
                                            .headers = {{"Retry-After", "1"}}});
      }
    }
    asked->turn = std::shared_ptr<void>(nullptr, [this, owner](void*) {
      const std::lock_guard lock(mutex_);
      forking_.erase(owner);
    });
  }
  Post(forks_, reply, [this, asked = std::move(asked)] { Fork(*asked); });
}

void LifecycleFace::Fork(Asked& asked) {
  const auto source = Find(asked);
  if (!source) return;
  if (source->state != SandboxState::kRunning) {
    return Finish(asked, Fail(ErrorCode::kConflict, "the sandbox is not running"), "FORK", 202);
  }
  const auto place = TakePlace(asked);
  if (place == nullptr) return;
  sandboxes::SandboxSpec spec;
  spec.id = NewUuidV7();
  spec.owner = source->owner;
  spec.request = source->request;
  spec.metadata = source->metadata;
  if (source->expires_unix_ms) {
    // As long as the other one still has, and a little to begin with.
    const std::int64_t left = *source->expires_unix_ms - parts_.clock.UnixMillis();
    spec.timeout = std::chrono::seconds(std::max<std::int64_t>(60, left / 1000));
  }
  const auto record = parts_.fleet.Fork(*source, std::move(spec));
  asked.turn.reset();  // before the answer, after which the next one may come
  if (!record) return Finish(asked, Fail(record.error()), "FORK", 202);
  ordered_json document = SandboxDocument(*record);
  document["forkedFrom"] = source->id;
  document["copied"] = "the files of its writable folders; no processes, no contexts";
  SendLifecycleJson(asked.call.reply, 202, document, {{"Location", "/v1/sandboxes/" + record->id}});
}

void LifecycleFace::NoSnapshot(Asked& asked) {
  if (!Find(asked)) return;
  SendLifecycleProblem(asked.call.reply,
                       {.status = 501,
                        .code = "SNAPSHOT::NOT_IMPLEMENTED",
                        .message = "there are no snapshots here; POST /sandboxes/{id}/fork makes "
                                   "a second sandbox with a copy of the files"});
}

void LifecycleFace::ListSnapshots(Asked& asked) {
  const auto page = PageNumber(asked.call, "page", 1, 1'000'000);
  const auto page_size = PageNumber(asked.call, "pageSize", 20, 200);
  if (!page || !page_size) {
    return SendLifecycleProblem(asked.call.reply, Unprocessable(!page ? "page: must be from 1"
                                                                      : "pageSize: from 1 to 200"));
  }
  store::SandboxQuery query;
  query.page = *page;
  query.page_size = *page_size;
  SendLifecycleJson(asked.call.reply, 200, SandboxPageDocument({}, query));
}

void LifecycleFace::FindSnapshot(Asked& asked) {
  SendLifecycleProblem(
      asked.call.reply,
      {.status = 404, .code = "SNAPSHOT::NOT_FOUND", .message = "there are no snapshots here"});
}

void LifecycleFace::NoPools(Asked& asked) {
  SendLifecycleProblem(asked.call.reply, NotSupported("there are no pools here"));
}

}  // namespace forkbox::api
