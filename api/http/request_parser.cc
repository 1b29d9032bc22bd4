#include "api/http/request_parser.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "api/http/field_syntax.h"

namespace forkbox::http {
namespace {

constexpr std::string_view kCrLf = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

// A size line is a few digits; extensions are legal and unused.
constexpr std::size_t kMaxChunkLineBytes = 1024;
// Beyond the target: the longest method, two blanks, the version.
constexpr std::size_t kRequestLineExtraBytes = 32;
// What a read position may leave behind before the buffer is moved up.
constexpr std::size_t kCompactBytes = 64 * 1024;

bool IsTarget(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsHost(std::string_view text) {  // RFC 3986 host and port, not taken apart
  return std::all_of(text.begin(), text.end(), [](char c) {
    return IsTokenChar(c) || std::string_view("()[],;=:").find(c) != std::string_view::npos;
  });
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The text up to the next CRLF, which is dropped too. `text` ends in CRLF.
std::string_view TakeLine(std::string_view* text) {
  const std::size_t end = text->find(kCrLf);
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end + kCrLf.size());
  return line;
}

// A line feed that ends no line by RFC 9112, or a CR that starts none, in the bytes from `start`.
// The last byte is left for later when it is a CR.
bool HasBareLineBreak(std::string_view text, std::size_t start) {
  for (std::size_t i = text.find_first_of(kCrLf, start); i != std::string_view::npos;
       i = text.find_first_of(kCrLf, i)) {
    if (text[i] == '\n') return true;
    if (i + 1 == text.size()) return false;
    if (text[i + 1] != '\n') return true;
    i += 2;
  }
  return false;
}

}  // namespace

RequestParser::RequestParser(const Limits& limits, std::shared_ptr<BodyBudget> budget,
                             BodyLimit body_limit, Takes takes)
    : limits_(limits),
      budget_(std::move(budget)),
      body_limit_(std::move(body_limit)),
      takes_(std::move(takes)) {}

void RequestParser::Append(std::string_view bytes) {
  if (state_ == State::kRefused) return;
  if (position_ == input_.size()) {
    input_.clear();
    position_ = 0;
    if (input_.capacity() > kCompactBytes) input_.shrink_to_fit();
  } else if (position_ > kCompactBytes) {
    input_.erase(0, position_);
    position_ = 0;
  }
  input_.append(bytes);
}

RequestParser::Phase RequestParser::phase() const {
  switch (state_) {
    case State::kHead:
      return buffered_bytes() == 0 ? Phase::kIdle : Phase::kHead;
    case State::kDone:
    case State::kRefused:
      return Phase::kIdle;
    default:
      return Phase::kBody;
  }
}

Request RequestParser::Take() {
  Request taken = std::move(request_);
  request_ = Request();
  has_request_line_ = false;
  continue_due_ = false;
  state_ = State::kHead;
  return taken;
}

Request RequestParser::TakeHead(std::uint64_t max_body_bytes) {
  taking_ = Taking::kStreaming;
  max_body_bytes_ = max_body_bytes;
  if (state_ == State::kSizedBody && wanted_ > max_body_bytes_) {
    Refuse(413, "the request body is too large");
  }
  return std::move(request_);
}

RequestParser::Step RequestParser::NextBody(std::span<char> into, std::size_t* bytes) {
  into_ = into;
  const Step step = Next();
  *bytes = into.size() - into_.size();
  into_ = {};
  return step;
}

std::size_t RequestParser::plain_bytes() const {
  const bool data = state_ == State::kSizedBody || state_ == State::kChunkData;
  return data && buffered_bytes() == 0 ? wanted_ : 0;
}

std::size_t RequestParser::TakeRaw(std::span<char> into) {
  const std::size_t taken = unread().copy(into.data(), into.size());
  position_ += taken;
  return taken;
}

bool RequestParser::TakeContinue() { return std::exchange(continue_due_, false); }

RequestParser::Step RequestParser::Refuse(int status, std::string_view message) {
  state_ = State::kRefused;
  refusal_ = {status, message};
  continue_due_ = false;
  request_.body = {};
  request_.body_share = {};
  input_ = {};
  position_ = 0;
  return Step::kRefused;
}

RequestParser::Step RequestParser::Next() {
  if (state_ == State::kHead) {
    const Step step = NextHead();
    if (step != Step::kRequest) return step;
  }
  if (taking_ == Taking::kDue && state_ != State::kRefused) return Step::kTaken;
  switch (state_) {
    case State::kSizedBody:
      return NextSizedBody();
    case State::kDone:
      return Step::kRequest;
    case State::kRefused:
      return Step::kRefused;
    default:
      return NextChunked();
  }
}

// kRequest here means: the head is complete, state_ says what comes after it.
RequestParser::Step RequestParser::NextHead() {
  if (scanned_ == 0) {  // RFC 9112, 2.2: empty lines before a request are ignored
    while (unread().starts_with(kCrLf)) position_ += kCrLf.size();
  }
  const std::string_view input = unread();
  if (input.empty()) return Step::kNeedMore;
  if (input == "\r") return Step::kNeedMore;
  // Speaks another protocol (a TLS hello, say): no need to wait for a line that will not come.
  if (!IsTokenChar(input.front()))
    return Refuse(400, "the request line does not start with a method");

  const std::size_t resume = scanned_ > 3 ? scanned_ - 3 : 0;
  const std::size_t end = input.find(kHeadEnd, resume);
  // Starting a scan inside a CRLF would mistake its LF for a bare one.
  std::size_t check_from = scanned_;
  if (check_from > 0 && input[check_from - 1] == '\r') --check_from;
  if (HasBareLineBreak(input.substr(0, end == std::string_view::npos ? end : end + 2),
                       check_from)) {
    return Refuse(400, "lines must end in CR LF");
  }
  if (end == std::string_view::npos) {
    if (input.size() > limits_.max_target_bytes + kRequestLineExtraBytes &&
        input.substr(0, limits_.max_target_bytes + kRequestLineExtraBytes).find(kCrLf) ==
            std::string_view::npos) {
      return Refuse(414, "the request target is too long");
    }
    if (input.size() > limits_.max_head_bytes)
      return Refuse(431, "the header section is too large");
    scanned_ = input.size();
    return Step::kNeedMore;
  }
  scanned_ = 0;
  if (end + kCrLf.size() > limits_.max_head_bytes) {
    return Refuse(431, "the header section is too large");
  }
  if (const std::optional<Refusal> refusal = ParseHead(input.substr(0, end + kCrLf.size()))) {
    return Refuse(refusal->status, refusal->message);
  }
  position_ += end + kHeadEnd.size();
  // A sender that did not wait has its answer already.
  if (state_ == State::kDone || buffered_bytes() != 0) continue_due_ = false;
  return Step::kRequest;
}

std::optional<Refusal> RequestParser::ParseRequestLine(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Refusal{400, "the request line needs a method, a target and a version"};
  }
  const std::string_view name = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(name)) return Refusal{400, "the method is not a token"};
  const std::optional<Method> method = ParseMethod(name);
  if (!method) return Refusal{501, "the method is not supported"};
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    if (version.starts_with("HTTP/")) return Refusal{505, "only HTTP/1.1 and HTTP/1.0 are spoken"};
    return Refusal{400, "the request line does not end in a version"};
  }
  if (target.size() > limits_.max_target_bytes)
    return Refusal{414, "the request target is too long"};
  if (!IsTarget(target)) return Refusal{400, "the request target has an invalid character"};
  if (target.empty() || target.front() != '/') {
    return Refusal{400, "the request target must start with a slash"};
  }
  request_.method = *method;
  request_.target = target;
  request_.http11 = version == "HTTP/1.1";
  has_request_line_ = true;
  return std::nullopt;
}

std::optional<Refusal> RequestParser::ParseHead(std::string_view head) {
  if (const auto refusal = ParseRequestLine(TakeLine(&head))) return refusal;

  std::optional<std::size_t> length;
  bool chunked = false;
  bool close = false;
  bool keep_alive = false;
  int hosts = 0;
  while (!head.empty()) {
    std::string_view name;
    std::string_view value;
    if (const auto wrong = SplitFieldLine(TakeLine(&head), &name, &value); !wrong.empty()) {
      return Refusal{400, wrong};
    }
    if (request_.fields.size() >= limits_.max_fields) return Refusal{431, "too many header fields"};
    request_.fields.emplace_back(name, value);

    if (EqualIgnoringCase(name, "content-length")) {
      // 18 digits cannot overflow, and no limit is that high.
      if (value.empty() || value.size() > 18) return Refusal{400, "Content-Length is not a number"};
      std::size_t number = 0;
      for (const char c : value) {
        if (c < '0' || c > '9') return Refusal{400, "Content-Length is not a number"};
        number = number * 10 + static_cast<std::size_t>(c - '0');
      }
      if (length && *length != number) return Refusal{400, "two Content-Length fields disagree"};
      length = number;
    } else if (EqualIgnoringCase(name, "transfer-encoding")) {
      if (chunked) return Refusal{400, "two Transfer-Encoding fields"};
      if (!EqualIgnoringCase(value, "chunked")) {
        return Refusal{501, "the only supported Transfer-Encoding is chunked"};
      }
      chunked = true;
    } else if (EqualIgnoringCase(name, "host")) {
      ++hosts;
      if (!IsHost(value)) return Refusal{400, "Host has an invalid character"};
    } else if (EqualIgnoringCase(name, "expect")) {
      if (!EqualIgnoringCase(value, "100-continue")) {
        return Refusal{417, "the only supported Expect is 100-continue"};
      }
      continue_due_ = request_.http11;
    } else if (EqualIgnoringCase(name, "connection")) {
      close = close || ListHasToken(value, "close");
      keep_alive = keep_alive || ListHasToken(value, "keep-alive");
    }
  }
  if (hosts > 1 || (hosts == 0 && request_.http11)) {
    return Refusal{400, "exactly one Host field is needed"};
  }
  if (chunked && length) return Refusal{400, "both Content-Length and Transfer-Encoding"};
  if (chunked && !request_.http11) return Refusal{400, "Transfer-Encoding needs HTTP/1.1"};
  request_.keep_alive = !close && (request_.http11 || keep_alive);

  framed_ = 0;
  if (takes_ && takes_(request_.method, request_.target, request_.fields)) {
    taking_ = Taking::kDue;
    wanted_ = length.value_or(0);
    state_ = chunked ? State::kChunkSize : wanted_ == 0 ? State::kDone : State::kSizedBody;
    return std::nullopt;
  }
  if (!chunked && length.value_or(0) == 0) {
    state_ = State::kDone;
    return std::nullopt;
  }
  max_body_bytes_ = body_limit_ ? body_limit_(request_.method, request_.target, request_.fields)
                                : limits_.max_body_bytes;
  if (length && *length > max_body_bytes_) return Refusal{413, "the request body is too large"};
  request_.body_share = BodyShare(budget_);
  wanted_ = length.value_or(0);
  state_ = chunked ? State::kChunkSize : State::kSizedBody;
  return std::nullopt;
}

bool RequestParser::MoveToBody() {
  if (taking_ == Taking::kStreaming) {
    const std::size_t moved = unread().copy(into_.data(), std::min(wanted_, into_.size()));
    into_ = into_.subspan(moved);
    position_ += moved;
    wanted_ -= moved;
    return true;
  }
  const std::string_view part = unread().substr(0, wanted_);
  if (!request_.body_share.Grow(part.size())) {
    Refuse(503, "too many request bodies at once");
    return false;
  }
  request_.body.append(part);
  position_ += part.size();
  wanted_ -= part.size();
  return true;
}

RequestParser::Step RequestParser::NextSizedBody() {
  if (!MoveToBody()) return Step::kRefused;
  if (wanted_ != 0) return Step::kNeedMore;
  state_ = State::kDone;
  return Step::kRequest;
}

std::optional<Refusal> RequestParser::ParseChunkSize(std::string_view line) {
  std::size_t size = 0;
  std::size_t digits = 0;
  for (; digits < line.size() && HexValue(line[digits]) >= 0; ++digits) {
    if (size > (std::numeric_limits<std::size_t>::max() >> 4)) {
      return Refusal{413, "the request body is too large"};
    }
    size = size << 4 | static_cast<std::size_t>(HexValue(line[digits]));
  }
  const std::string_view extension = line.substr(digits);
  if (digits == 0 || (!extension.empty() && extension.front() != ';') || !IsFieldValue(extension)) {
    return Refusal{400, "a chunk size is not a hexadecimal number"};
  }
  if (size > max_body_bytes_ || framed_ > max_body_bytes_ - size) {
    return Refusal{413, "the request body is too large"};
  }
  framed_ += size;
  wanted_ = size;
  return std::nullopt;
}

RequestParser::Step RequestParser::NextChunked() {
  for (;;) {
    switch (state_) {
      case State::kChunkSize: {
        const std::string_view input = unread();
        const std::size_t end = input.find(kCrLf);
        if (std::min(end, input.size()) > kMaxChunkLineBytes) {
          return Refuse(400, "a chunk size line is too long");
        }
        if (end == std::string_view::npos) return Step::kNeedMore;
        if (const auto refusal = ParseChunkSize(input.substr(0, end))) {
          return Refuse(refusal->status, refusal->message);
        }
        position_ += end + kCrLf.size();
        state_ = wanted_ == 0 ? State::kTrailer : State::kChunkData;
        break;
      }
      case State::kChunkData:
        if (!MoveToBody()) return Step::kRefused;
        if (wanted_ != 0) return Step::kNeedMore;
        state_ = State::kChunkEnd;
        break;
      case State::kChunkEnd:
        if (unread().size() < kCrLf.size()) return Step::kNeedMore;
        if (!unread().starts_with(kCrLf)) return Refuse(400, "a chunk does not end in CR LF");
        position_ += kCrLf.size();
        state_ = State::kChunkSize;
        break;
      case State::kTrailer: {
        std::string_view input = unread();
        if (input.starts_with(kCrLf)) {
          position_ += kCrLf.size();
          state_ = State::kDone;
          return Step::kRequest;
        }
        const std::size_t end = input.find(kHeadEnd);
        if (std::min(end, input.size()) > limits_.max_head_bytes) {
          return Refuse(431, "the trailer section is too large");
        }
        if (end == std::string_view::npos) return Step::kNeedMore;
        input = input.substr(0, end + kCrLf.size());
        while (!input.empty()) {
          std::string_view name;
          std::string_view value;
          if (const auto wrong = SplitFieldLine(TakeLine(&input), &name, &value); !wrong.empty()) {
            return Refuse(400, wrong);
          }
        }
        position_ += end + kHeadEnd.size();
        state_ = State::kDone;
        return Step::kRequest;
      }
      default:
        return state_ == State::kDone ? Step::kRequest : Step::kRefused;
    }
  }
}

}  // namespace forkbox::http
