// Call: one request as its handler sees it, complete and within the server's limits.
//
// The handler owns it for the time of the call and may move things out of it; what answers later
// keeps a copy of `reply`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/http/fields.h"
#include "api/http/method.h"
#include "api/http/reply.h"
#include "api/http/taken_connection.h"

namespace forkbox::http {

struct Call {
  Method method = Method::kGet;
  std::string path;       // as sent: not decoded, without the query
  std::string raw_query;  // what follows '?', not decoded
  Fields fields;
  Fields params;  // {":id", value}, decoded
  std::string body;
  Reply reply;
  std::string client_address;  // of the TCP peer, without the port
  // The client's X-Request-Id if that is 1 to 128 characters of [A-Za-z0-9._:-], else a new UUID.
  // It is the one sent back in the answer.
  std::string request_id;
  std::string tail = {};  // of a Server::Tree: what stands below its prefix
  std::shared_ptr<TakenConnection> taken = nullptr;  // when its TakesOver said so; else null

  // The whole answer, by `reply` or, when the connection was taken, by that. What stands in front
  // of handlers of both kinds refuses with it. False when it could not be sent.
  bool Answer(int status, std::string_view content_type, std::string_view answer_body,
              const Fields& headers = {});

  // The first field of that name in any case; nullptr when there is none.
  [[nodiscard]] const std::string* Header(std::string_view name) const;

  // The decoded path parameter, with its colon: Param(":id"). Empty when the route has none such.
  [[nodiscard]] std::string Param(std::string_view name) const;

  // The first query parameter of that name, decoded, '+' as blank. False, and *value untouched,
  // when there is none; pairs with a bad escape are passed over.
  bool Query(std::string_view name, std::string* value) const;
};

// Percent-decoding of one component. False on a bad escape; *decoded is then unspecified.
bool PercentDecode(std::string_view text, bool plus_is_blank, std::string* decoded);

// True for what a client may choose as X-Request-Id.
bool IsRequestId(std::string_view text);

}  // namespace forkbox::http
