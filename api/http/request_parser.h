// RequestParser: the bytes of one connection, cut into requests by RFC 9112, strictly.
//
//   parser.Append(bytes);
//   while (parser.Next() == RequestParser::Step::kRequest) Handle(parser.Take());
//
// Whatever two readers could understand differently is refused: bare CR or LF, folded fields,
// blanks before a colon, two lengths that disagree, a length beside chunks, no Host or two. After a
// refusal the place of the next request is unknown: the connection must be closed and the parser
// stays refused. It knows no sockets and no clock. One thread at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/http/body_budget.h"
#include "api/http/fields.h"
#include "api/http/limits.h"
#include "api/http/method.h"

namespace forkbox::http {

struct Request {
  Method method = Method::kGet;
  std::string target;  // origin form, not decoded
  Fields fields;       // in order; the trailer section of a chunked body is checked and dropped
  std::string body;    // decoded
  bool http11 = true;
  bool keep_alive = true;  // by version and Connection
  BodyShare body_share;    // keep it as long as the body is kept
};

// Why the connection must be closed, and with what answer.
struct Refusal {
  int status = 400;
  std::string_view message;  // clear text with static lifetime
};

class RequestParser {
 public:
  enum class Step { kNeedMore, kRequest, kRefused };
  enum class Phase { kIdle, kHead, kBody };  // what the next byte belongs to
  using BodyLimit =
      std::function<std::size_t(Method method, std::string_view target, const Fields& fields)>;

  // `limits` outlives the parser. An empty `body_limit` means
  // limits.max_body_bytes; what it throws is passed on by Next().
  RequestParser(const Limits& limits, std::shared_ptr<BodyBudget> budget, BodyLimit body_limit);

  void Append(std::string_view bytes);

  // Forgets what was read and gives its memory back; reads nothing any more.
  void Reset() { Refuse(400, "the connection is closed"); }

  // After kRequest call Take() before the next Next().
  Step Next();
  Request Take();

  // True once for each request whose sender waits for "100 Continue" before the body.
  bool TakeContinue();

  [[nodiscard]] Phase phase() const;
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }
  // The request as far as it was read; its method and target are there once `has_request_line`.
  [[nodiscard]] const Request& partial() const { return request_; }
  [[nodiscard]] bool has_request_line() const { return has_request_line_; }
  // Bytes appended and not yet part of a request.
  [[nodiscard]] std::size_t buffered_bytes() const { return input_.size() - position_; }

 private:
  enum class State {
    kHead,
    kSizedBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kDone,
    kRefused
  };

  Step Refuse(int status, std::string_view message);
  Step NextHead();
  Step NextSizedBody();
  Step NextChunked();
  std::optional<Refusal> ParseHead(std::string_view head);
  std::optional<Refusal> ParseRequestLine(std::string_view line);
  std::optional<Refusal> ParseChunkSize(std::string_view line);
  // Moves up to `wanted_` bytes into the body; false after a refusal.
  bool MoveToBody();
  [[nodiscard]] std::string_view unread() const {
    return std::string_view(input_).substr(position_);
  }

  const Limits& limits_;
  std::shared_ptr<BodyBudget> budget_;
  BodyLimit body_limit_;
  State state_ = State::kHead;
  Refusal refusal_;

  std::string input_;
  std::size_t position_ = 0;  // of the first unread byte
  std::size_t scanned_ = 0;   // bytes after position_ known to hold no end of the head

  Request request_;
  bool has_request_line_ = false;
  bool continue_due_ = false;
  std::size_t wanted_ = 0;          // bytes of the body or chunk still to come
  std::size_t max_body_bytes_ = 0;  // for this request
};

}  // namespace forkbox::http
