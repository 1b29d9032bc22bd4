// RequestParser: the bytes of one connection, cut into requests by RFC 9112, strictly.
//
//   parser.Append(bytes);
//   while (parser.Next() == RequestParser::Step::kRequest) Handle(parser.Take());
//
// Whatever two readers could understand differently is refused: bare CR or LF, folded fields,
// blanks before a colon, two lengths that disagree, a length beside chunks, no Host or two. After a
// refusal the place of the next request is unknown: the connection must be closed and the parser
// stays refused. It knows no sockets and no clock. One thread at a time.
//
// A request whose body is not to be held in memory stops at the end of its head, by kTaken; the
// parser then belongs to that request alone, and gives out the body piece by piece:
//
//   Request head = parser.TakeHead(max_body_bytes);
//   while (parser.NextBody(into, &bytes) == RequestParser::Step::kNeedMore) …
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
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
  enum class Step { kNeedMore, kRequest, kRefused, kTaken };
  enum class Phase { kIdle, kHead, kBody };  // what the next byte belongs to
  using BodyLimit =
      std::function<std::size_t(Method method, std::string_view target, const Fields& fields)>;

  // Whether the request stops at its head.
  using Takes = std::function<bool(Method method, std::string_view target, const Fields& fields)>;

  // An empty `body_limit` means limits.max_body_bytes, an empty `takes` never. What they throw is
  // passed on by Next().
  RequestParser(const Limits& limits, std::shared_ptr<BodyBudget> budget, BodyLimit body_limit,
                Takes takes = nullptr);

  void Append(std::string_view bytes);

  // Forgets what was read and gives its memory back; reads nothing any more.
  void Reset() { Refuse(400, "the connection is closed"); }

  // After kRequest call Take() before the next Next(). kTaken comes again until TakeHead().
  Step Next();
  Request Take();

  // After kTaken: the request without its body, which NextBody() decodes up to `max_body_bytes`.
  Request TakeHead(std::uint64_t max_body_bytes);
  // Decodes what was appended into `into`. kNeedMore: *bytes of it are filled; append more when
  // they are none. kRequest: the body is over; *bytes may still be some. kRefused likewise.
  Step NextBody(std::span<char> into, std::size_t* bytes);
  // How many bytes of the body come next on the connection as they are, with nothing appended
  // before them: they may be read elsewhere, and PassOver() says how many were.
  [[nodiscard]] std::size_t plain_bytes() const;
  void PassOver(std::size_t bytes) { wanted_ -= bytes; }
  // Nothing of the body is left.
  [[nodiscard]] bool body_is_over() const {
    return state_ == State::kDone || (state_ == State::kSizedBody && wanted_ == 0);
  }
  [[nodiscard]] bool refused() const { return state_ == State::kRefused; }
  // Up to `into.size()` of the bytes appended and not decoded.
  std::size_t TakeRaw(std::span<char> into);

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
  // Moves up to `wanted_` bytes into the body, or where NextBody() wants them; false after a
  // refusal.
  bool MoveToBody();
  [[nodiscard]] std::string_view unread() const {
    return std::string_view(input_).substr(position_);
  }

  Limits limits_;
  std::shared_ptr<BodyBudget> budget_;
  BodyLimit body_limit_;
  Takes takes_;
  State state_ = State::kHead;
  Refusal refusal_;

  std::string input_;
  std::size_t position_ = 0;  // of the first unread byte
  std::size_t scanned_ = 0;   // bytes after position_ known to hold no end of the head

  Request request_;
  bool has_request_line_ = false;
  bool continue_due_ = false;
  std::size_t wanted_ = 0;          // bytes of the body or chunk still to come
  std::size_t framed_ = 0;          // bytes of the body that chunks have announced so far
  std::size_t max_body_bytes_ = 0;  // for this request

  enum class Taking { kNo, kDue, kStreaming };
  Taking taking_ = Taking::kNo;
  std::span<char> into_;  // what NextBody() has still to fill
};

}  // namespace forkbox::http
