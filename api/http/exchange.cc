#include "api/http/exchange.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <utility>

#include "api/http/response_head.h"

namespace forkbox::http {
namespace {

constexpr std::string_view kLastChunk = "0\r\n\r\n";

bool HasBody(int status) { return status != 204 && status != 304; }

std::string FormatChunk(std::string_view data) {
  char size[16];
  const auto [end, error] = std::to_chars(size, size + sizeof size, data.size(), 16);
  std::string chunk;
  chunk.reserve(data.size() + sizeof size + 4);
  chunk.append(size, end).append("\r\n").append(data).append("\r\n");
  return chunk;
}

}  // namespace

Exchange::Exchange(Options options)
    : options_(std::move(options)), keep_alive_(options_.keep_alive) {}

Exchange::~Exchange() {
  try {
    bool open = false;
    {
      std::lock_guard lock(options_.connection->mutex);
      open = Is(State::kOpen);
    }
    if (open) SendOwn(500, "the server has no answer to this request");
    Abort();       // what is not done by now
  } catch (...) {  // out of memory: the client learns from the end of the connection
    std::lock_guard lock(options_.connection->mutex);
    options_.connection->Kill();
  }
}

bool Exchange::Is(State state) const { return state_ == state && !options_.connection->gone; }

std::string Exchange::FormatHead(int status, std::string_view content_type, const Fields& headers,
                                 std::size_t length) const {
  ResponseHead head;
  head.status = status;
  head.content_type = content_type;
  head.request_id = options_.info.request_id;
  head.headers = &headers;
  head.keep_alive = options_.keep_alive;
  if (HasBody(status)) head.content_length = length;
  return head.Format();
}

bool Exchange::Send(int status, std::string_view content_type, std::string_view body,
                    const Fields& headers) {
  std::string text = FormatHead(status, content_type, headers, body.size());
  const bool with_body = !options_.head_only && HasBody(status);
  if (with_body) text.append(body);
  std::unique_lock lock(options_.connection->mutex);
  if (!Is(State::kOpen)) return false;
  const bool sent = options_.connection->Put(text);
  Finish(std::move(lock), sent ? status : kStatusClientGone, with_body ? body.size() : 0);
  return sent;
}

bool Exchange::SendFile(int status, std::string_view content_type, UniqueFd file,
                        std::uint64_t offset, std::uint64_t length, const Fields& headers) {
  const std::string text = FormatHead(status, content_type, headers, length);
  const bool with_body = !options_.head_only && HasBody(status);
  std::unique_lock lock(options_.connection->mutex);
  if (!Is(State::kOpen)) return false;
  bool sent = options_.connection->Put(text);
  if (sent && with_body) sent = options_.connection->PutFile(std::move(file), offset, length);
  Finish(std::move(lock), sent ? status : kStatusClientGone, with_body ? length : 0);
  return sent;
}

bool Exchange::Start(int status, std::string_view content_type, const Fields& headers) {
  ResponseHead head;
  head.status = status;
  head.content_type = content_type;
  head.request_id = options_.info.request_id;
  head.headers = &headers;
  // HTTP/1.0 knows no chunks: the end of the connection ends the stream.
  head.keep_alive = options_.keep_alive && options_.http11;
  head.chunked = options_.http11;
  const std::string text = head.Format();
  std::unique_lock lock(options_.connection->mutex);
  if (!Is(State::kOpen)) return false;
  if (!options_.http11) keep_alive_ = false;
  const bool sent = options_.connection->Put(text);
  if (options_.head_only || !sent) {  // HEAD: the client has all it asked for
    Finish(std::move(lock), sent ? status : kStatusClientGone, 0);
    return sent;
  }
  state_ = State::kStreaming;
  stream_status_ = status;
  return true;
}

bool Exchange::Write(std::string_view data) {
  std::unique_lock lock(options_.connection->mutex);
  if (!Is(State::kStreaming)) return false;
  if (data.empty()) return true;  // an empty chunk would end the stream
  Connection& connection = *options_.connection;
  if (connection.output.pending_bytes() + data.size() > options_.max_backlog_bytes) {
    connection.Kill();
    return false;
  }
  stream_bytes_ += data.size();
  return connection.Put(options_.http11 ? FormatChunk(data) : std::string(data));
}

void Exchange::End() {
  std::unique_lock lock(options_.connection->mutex);
  if (!Is(State::kStreaming)) return;
  const bool sent = !options_.http11 || options_.connection->Put(kLastChunk);
  Finish(std::move(lock), sent ? stream_status_ : kStatusClientGone, stream_bytes_);
}

void Exchange::Abort() {
  std::unique_lock lock(options_.connection->mutex);
  if (state_ == State::kDone) return;
  options_.connection->Kill();
  keep_alive_ = false;
  Finish(std::move(lock), state_ == State::kStreaming ? stream_status_ : kStatusClientGone,
         stream_bytes_);
}

void Exchange::SendOwn(int status, std::string_view message, const Fields& headers) {
  AnswerBody answer;
  if (const auto owner = options_.owner.lock()) {
    answer = owner->OwnAnswerBody(options_.info, status, message);
  }
  if (!Send(status, answer.content_type, answer.body, headers)) Abort();
}

bool Exchange::Alive() const {
  std::lock_guard lock(options_.connection->mutex);
  return state_ != State::kDone && !options_.connection->gone;
}

void Exchange::OnGone(std::function<void()> callback) {
  std::function<void()> replaced;  // destroyed without the lock: it may hold a Reply
  {
    std::lock_guard lock(options_.connection->mutex);
    if (!options_.connection->gone) {
      if (state_ == State::kDone) return;
      replaced = std::exchange(on_gone_, std::move(callback));
      return;
    }
    if (answered_) return;
  }
  callback();
}

std::size_t Exchange::Backlog() const {
  std::lock_guard lock(options_.connection->mutex);
  return options_.connection->output.pending_bytes();
}

bool Exchange::AwaitBacklog(std::size_t bytes, std::chrono::milliseconds patience) const {
  Connection& c = *options_.connection;
  std::unique_lock lock(c.mutex);
  const SteadyTime waits_since = std::chrono::steady_clock::now();
  while (!c.gone && c.output.pending_bytes() > bytes) {
    const SteadyTime last_output = c.last_output;
    const SteadyTime until = std::max(waits_since, last_output) + patience;
    if (c.drained.wait_until(lock, until) == std::cv_status::timeout &&
        c.last_output == last_output) {
      return false;
    }
  }
  return !c.gone;
}

void Exchange::OnConnectionGone() {
  std::function<void()> callback;
  int status = kStatusClientGone;
  std::size_t bytes = 0;
  {
    std::lock_guard lock(options_.connection->mutex);
    if (state_ == State::kDone) return;
    if (state_ == State::kStreaming) status = stream_status_;
    bytes = stream_bytes_;
    state_ = State::kDone;
    options_.body_share.Release();
    callback = std::exchange(on_gone_, nullptr);
  }
  Report(status, bytes);
  if (!callback) return;
  try {
    callback();
  } catch (...) {  // it runs on a thread that must not end
  }
}

void Exchange::Finish(std::unique_lock<std::mutex> lock, int status, std::size_t body_bytes) {
  Connection& connection = *options_.connection;
  const bool keep_alive = keep_alive_ && status != kStatusClientGone;
  state_ = State::kDone;
  answered_ = true;
  options_.body_share.Release();
  std::function<void()> callback = std::exchange(on_gone_, nullptr);
  connection.in_flight = false;
  connection.current.reset();
  connection.phase = RequestParser::Phase::kIdle;
  connection.phase_began = std::chrono::steady_clock::now();
  if (!keep_alive) {
    connection.closing = true;
    connection.closing_began = connection.phase_began;
  }
  connection.FinishClosing();
  lock.unlock();
  callback = nullptr;  // may hold Replies, which take locks when they die
  Report(status, body_bytes);
  if (keep_alive) {
    if (const auto owner = options_.owner.lock()) owner->OnFree(options_.connection);
  }
}

void Exchange::Report(int status, std::size_t body_bytes) {
  if (const auto owner = options_.owner.lock())
    owner->OnFinished(options_.info, status, body_bytes);
}

}  // namespace forkbox::http
