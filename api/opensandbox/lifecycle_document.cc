#include "api/opensandbox/lifecycle_document.h"

#include <string>
#include <utility>

#include "base/rfc3339.h"

namespace forkbox::api {

using nlohmann::json;
using nlohmann::ordered_json;

ordered_json SandboxDocument(const store::SandboxRecord& record, bool with_image) {
  ordered_json status{{"state", ToString(record.state)}};
  if (!record.reason.empty()) status["reason"] = record.reason;
  if (!record.message.empty()) status["message"] = record.message;
  status["lastTransitionAt"] = Rfc3339Millis(record.changed_unix_ms);

  ordered_json document{{"id", record.id}, {"status", std::move(status)}};
  const json request = json::parse(record.request, nullptr, false);
  const auto show = [&](const char* name) {
    if (request.is_object() && request.contains(name)) document[name] = request[name];
  };
  if (with_image) show("image");
  document["metadata"] = ordered_json::object();
  for (const auto& [key, value] : record.metadata) document["metadata"][key] = value;
  show("entrypoint");
  show("platform");
  document["createdAt"] = Rfc3339Millis(record.created_unix_ms);
  if (record.expires_unix_ms) document["expiresAt"] = Rfc3339Millis(*record.expires_unix_ms);
  return document;
}

ordered_json SandboxPageDocument(const store::SandboxPage& page, const store::SandboxQuery& query) {
  ordered_json items = ordered_json::array();
  for (const auto& record : page.items) items.push_back(SandboxDocument(record));
  const std::uint64_t pages = (page.total + query.page_size - 1) / query.page_size;
  return {{"items", std::move(items)},
          {"pagination",
           {{"page", query.page},
            {"pageSize", query.page_size},
            {"totalItems", page.total},
            {"totalPages", pages},
            {"hasNextPage", query.page < pages}}}};
}

}  // namespace forkbox::api
