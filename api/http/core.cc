#include "api/http/core.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <mutex>
#include <typeinfo>
#include <utility>

#include "api/http/response_head.h"
#include "api/http/taken_socket.h"
#include "base/check.h"
#include "base/uuid.h"

namespace forkbox::http {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kMaxLoggedPathLength = 512;

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

std::string_view QueryOf(std::string_view target) {
  const std::size_t mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

std::string RequestIdOf(const Fields& fields) {
  const std::string* sent = FindField(fields, "x-request-id");
  return sent != nullptr && IsRequestId(*sent) ? *sent : NewUuidV7();
}

std::string EscapeJson(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped.push_back('\\');
    escaped.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  return escaped;
}

// The type alone: the text of an exception may quote what a user sent.
std::string CurrentExceptionType() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "unknown";
  int status = 0;
  char* name = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
  std::string text = name != nullptr ? name : type->name();
  std::free(name);
  return text;
}

}  // namespace

Core::Core(Server::Options options)
    : options_(std::move(options)),
      bodies_(std::make_shared<BodyBudget>(options_.limits.max_body_total_bytes)),
      hub_(options_.limits.max_connections,
           {.new_parser = [this] { return NewParser(); },
            .on_resume = [this](const auto& connection) { Pump(connection); },
            .on_tick =
                [this] {
                  on_tick_();
                  CheckTimes();
                }}) {}

Result<void> Core::Start(std::function<void()> on_tick) {
  on_tick_ = std::move(on_tick);
  return hub_.Start();
}

RequestParser Core::NewParser() {
  RequestParser::BodyLimit body_limit;
  if (options_.body_limit) {
    body_limit = [this](Method method, std::string_view target, const Fields& fields) {
      const Entry entry(*this);
      if (!entry) return options_.limits.max_body_bytes;
      try {
        return options_.body_limit(method, target, fields);
      } catch (...) {
        options_.log.Error("http.hook_threw",
                           {{"hook", "body_limit"}, {"type", CurrentExceptionType()}});
        return options_.limits.max_body_bytes;
      }
    };
  }
  RequestParser::Takes takes;
  if (router_.has_takers()) {
    takes = [this](Method method, std::string_view target, const Fields& fields) {
      return Takes(method, target, fields);
    };
  }
  return RequestParser(options_.limits, bodies_, std::move(body_limit), std::move(takes));
}

bool Core::Takes(Method method, std::string_view target, const Fields& fields) {
  const Entry entry(*this);
  if (!entry) return false;
  const Router::Match match = router_.Find(method, PathOf(target));
  if (match.outcome != Router::Outcome::kFound || !match.route->takes_over) return false;
  try {
    return match.route->takes_over(method, match.tail, fields);
  } catch (...) {
    options_.log.Error("http.hook_threw",
                       {{"hook", "takes_over"}, {"type", CurrentExceptionType()}});
    return false;
  }
}

std::shared_ptr<Connection> Core::OnConnect(Connection::Origin origin) {
  return hub_.Add(std::move(origin));
}

void Core::OnInput(const std::shared_ptr<Connection>& connection, std::string_view bytes,
                   bool hogging) {
  {
    std::lock_guard lock(connection->mutex);
    Connection& c = *connection;
    if (c.gone) return;
    if (c.closing) {
      c.junk_bytes += bytes.size();
      if (c.junk_bytes > c.linger.bytes) c.Kill();
      return;
    }
    if ((c.in_flight || c.paused) &&
        c.parser.buffered_bytes() + bytes.size() > options_.limits.max_pipelined_bytes) {
      c.Kill();
      return;
    }
    c.parser.Append(bytes);
    c.last_input = steady_clock::now();
    c.leave_to_hub = hogging;
  }
  Pump(connection);
}

void Core::OnDisconnect(const std::shared_ptr<Connection>& connection) {
  std::shared_ptr<Exchange> exchange;
  std::shared_ptr<TakenSocket> taker;
  {
    std::lock_guard lock(connection->mutex);
    exchange = connection->current.lock();
    taker = connection->taker.lock();
    connection->Close();
  }
  hub_.Forget(*connection);
  if (exchange) exchange->OnConnectionGone();
  if (taker) taker->OnConnectionGone();
}

void Core::Pump(const std::shared_ptr<Connection>& connection) {
  const Entry entry(*this);
  if (!entry) return;
  std::unique_lock lock(connection->mutex);
  if (connection->pumping) return;  // that one will see what is new
  connection->pumping = true;
  try {
    PumpLocked(connection, lock);
  } catch (...) {  // out of memory
    if (!lock.owns_lock()) lock.lock();
    connection->Kill();
  }
  connection->pumping = false;
}

void Core::PumpLocked(const std::shared_ptr<Connection>& connection,
                      std::unique_lock<std::mutex>& lock) {
  Connection& c = *connection;
  while (!c.gone && !c.closing && !c.in_flight && !c.paused) {
    // A client that sends requests and takes no answers has to wait: the hub resumes it.
    if (c.output.pending_bytes() > options_.limits.max_backlog_bytes || c.output.files() > 0) {
      c.paused = true;
      return;
    }
    const RequestParser::Step step = c.parser.Next();
    if (step == RequestParser::Step::kTaken) return TakeOver(connection, lock);
    if (c.parser.TakeContinue()) c.Put("HTTP/1.1 100 Continue\r\n\r\n");
    if (step == RequestParser::Step::kRefused) {
      Refuse(connection, std::move(lock), c.parser.refusal());
      lock = std::unique_lock(c.mutex);
      return;
    }
    if (step == RequestParser::Step::kNeedMore) {
      if (const RequestParser::Phase phase = c.parser.phase(); phase != c.phase) {
        c.phase = phase;
        c.phase_began = steady_clock::now();
      }
      return;
    }
    Request request = c.parser.Take();
    auto exchange = std::make_shared<Exchange>(
        Exchange::Options{.owner = weak_from_this(),
                          .connection = connection,
                          .info = {.request_id = RequestIdOf(request.fields),
                                   .method = ToString(request.method),
                                   .path = std::string(PathOf(request.target)),
                                   .route = {},
                                   .client_address = c.client_address,
                                   .began = steady_clock::now()},
                          .body_share = std::move(request.body_share),
                          .max_backlog_bytes = options_.limits.max_backlog_bytes,
                          .head_only = request.method == Method::kHead,
                          .keep_alive = request.keep_alive && !draining_,
                          .http11 = request.http11});
    c.in_flight = true;
    c.current = exchange;
    ++in_flight_;
    lock.unlock();
    // Everything that could answer must be gone before the lock is taken again.
    Handle(connection, std::move(request), std::move(exchange));
    lock.lock();
  }
}

void Core::Handle(const std::shared_ptr<Connection>& connection, Request request,
                  std::shared_ptr<Exchange> exchange) {
  try {
    Router::Match match = router_.Find(request.method, PathOf(request.target));
    switch (match.outcome) {
      case Router::Outcome::kNotFound:
        return exchange->SendOwn(404, "there is nothing at this path");
      case Router::Outcome::kMethodNotAllowed:
        return exchange->SendOwn(405, "this path does not know the method",
                                 {{"Allow", match.allow}});
      case Router::Outcome::kBadEscape:
        return exchange->SendOwn(400, "the path has an invalid percent escape");
      case Router::Outcome::kFound:
        break;
    }
    exchange->set_route(match.route->path);
    Call call{.method = request.method,
              .path = std::string(PathOf(request.target)),
              .raw_query = std::string(QueryOf(request.target)),
              .fields = std::move(request.fields),
              .params = std::move(match.params),
              .body = std::move(request.body),
              .reply = Reply(exchange),
              .client_address = connection->client_address,
              .request_id = exchange->request_id(),
              .tail = std::string(match.tail)};
    match.route->handler(call);
  } catch (...) {
    options_.log.Error("http.handler_threw",
                       {{"request_id", exchange->request_id()}, {"type", CurrentExceptionType()}});
    exchange->SendOwn(500, "internal error");
  }
}

void Core::TakeOver(const std::shared_ptr<Connection>& connection,
                    std::unique_lock<std::mutex>& lock) {
  Connection& c = *connection;
  c.take_due = true;
  if (c.phase != RequestParser::Phase::kBody) {  // this must come to an end too
    c.phase = RequestParser::Phase::kBody;
    c.phase_began = c.last_input = steady_clock::now();
  }
  if (!c.output.empty()) {  // the answers before it; the hub resumes us
    c.paused = true;
    return;
  }
  if (!c.reader->IsThisThread()) return c.reader->Call(connection);
  UniqueFd hold = c.reader->LetGo(c.peer_fd);
  if (!hold) {
    Refuse(connection, std::move(lock), {503, "too many connections at once"});
    lock = std::unique_lock(c.mutex);
    return;
  }
  hold = hub_.MoveUp(std::move(hold));
  c.take_due = false;
  RequestInfo info{.request_id = RequestIdOf(c.parser.partial().fields),
                   .method = ToString(c.parser.partial().method),
                   .path = std::string(PathOf(c.parser.partial().target)),
                   .route = {},
                   .client_address = c.client_address,
                   .began = steady_clock::now()};
  const Router::Match match = router_.Find(c.parser.partial().method, info.path);
  FORKBOX_CHECK(match.outcome == Router::Outcome::kFound);
  info.route = match.route->path;
  Request request = c.parser.TakeHead(match.route->max_taken_body_bytes);
  RequestParser parser = std::move(c.parser);
  const int socket = c.Give(std::move(hold));
  std::shared_ptr<TakenSocket> taken;
  try {
    taken = std::make_shared<TakenSocket>(
        TakenSocket::Options{.owner = weak_from_this(),
                             .connection = connection,
                             .socket = socket,
                             .parser = std::move(parser),
                             .info = info,
                             .read_gap = options_.limits.body_gap_timeout,
                             .write_gap = options_.limits.write_gap_timeout,
                             .head_only = request.method == Method::kHead});
  } catch (...) {  // out of memory
    c.Linger({});
    throw;
  }
  c.taker = taken;
  c.in_flight = true;
  ++in_flight_;
  lock.unlock();
  HandleTaken(std::move(request), std::move(info), taken);
  taken.reset();  // perhaps the last one, which takes the lock
  lock.lock();
}

void Core::HandleTaken(Request request, RequestInfo info,
                       const std::shared_ptr<TakenSocket>& taken) {
  try {
    Router::Match match = router_.Find(request.method, PathOf(request.target));
    Call call{.method = request.method,
              .path = std::string(PathOf(request.target)),
              .raw_query = std::string(QueryOf(request.target)),
              .fields = std::move(request.fields),
              .params = std::move(match.params),
              .body = {},
              .reply = Reply(),
              .client_address = std::move(info.client_address),
              .request_id = info.request_id,
              .tail = std::string(match.tail),
              .taken = taken};
    match.route->handler(call);
  } catch (...) {
    options_.log.Error("http.handler_threw",
                       {{"request_id", info.request_id}, {"type", CurrentExceptionType()}});
    // Whoever else has it by now uses it.
    if (taken.use_count() == 1) taken->SendOwn(500, "internal error");
  }
}

void Core::Refuse(const std::shared_ptr<Connection>& connection, std::unique_lock<std::mutex> lock,
                  Refusal refusal) {
  Connection& c = *connection;
  c.closing = true;
  c.closing_began = steady_clock::now();
  c.in_flight = true;  // no FIN before the answer
  RequestInfo info{.request_id = RequestIdOf(c.parser.partial().fields),
                   .method = {},
                   .path = {},
                   .route = {},
                   .client_address = c.client_address,
                   .began = c.phase_began};
  if (c.parser.has_request_line()) {
    info.method = ToString(c.parser.partial().method);
    info.path = PathOf(c.parser.partial().target);
  }
  c.parser.Reset();
  lock.unlock();

  const AnswerBody answer = OwnAnswerBody(info, refusal.status, refusal.message);
  ResponseHead head;
  head.status = refusal.status;
  head.content_type = answer.content_type;
  head.request_id = info.request_id;
  head.keep_alive = false;
  head.content_length = answer.body.size();
  std::string text = head.Format();
  const bool with_body = info.method != ToString(Method::kHead);
  if (with_body) text += answer.body;

  lock.lock();
  const bool sent = c.Put(text);
  c.in_flight = false;
  c.FinishClosing();
  lock.unlock();
  ++in_flight_;
  OnFinished(info, sent ? refusal.status : kStatusClientGone, with_body ? answer.body.size() : 0);
}

AnswerBody Core::OwnAnswerBody(const RequestInfo& info, int status, std::string_view message) {
  const Entry entry(*this);
  if (entry && options_.error_body) {
    try {
      return options_.error_body(
          {.status = status, .message = message, .method = info.method, .path = info.path});
    } catch (...) {
      options_.log.Error("http.hook_threw",
                         {{"hook", "error_body"}, {"type", CurrentExceptionType()}});
    }
  }
  return {"application/json", "{\"error\":\"" + EscapeJson(message) + "\"}"};
}

void Core::OnFinished(const RequestInfo& info, int status, std::size_t body_bytes) {
  --in_flight_;
  const Entry entry(*this);
  if (!entry) return;
  const auto duration = steady_clock::now() - info.began;
  try {
    const double duration_ms = std::chrono::duration<double, std::milli>(duration).count();
    options_.log.Info("http.request",
                      {{"request_id", info.request_id},
                       {"method", info.method},
                       {"path", std::string_view(info.path).substr(0, kMaxLoggedPathLength)},
                       {"status", status},
                       {"bytes", body_bytes},
                       {"duration_ms", duration_ms},
                       {"client", info.client_address}});
    if (options_.on_request) {
      options_.on_request({.method = info.method,
                           .route = info.route,
                           .status = status,
                           .duration = duration,
                           .body_bytes = body_bytes});
    }
  } catch (...) {
    options_.log.Error("http.hook_threw",
                       {{"hook", "on_request"}, {"type", CurrentExceptionType()}});
  }
}

Server::Stats Core::stats() const {
  return {.connections = hub_.size(),
          .requests_in_flight = in_flight_.load(),
          .body_bytes = bodies_->used_bytes()};
}

}  // namespace forkbox::http
