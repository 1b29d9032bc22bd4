#include "api/opensandbox/execd_face.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "api/http/router.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_threads.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kTokenField = "X-EXECD-ACCESS-TOKEN";
constexpr std::string_view kUploadPath = "/files/upload";
constexpr std::string_view kProxyPrefix = "/proxy/";
constexpr std::string_view kIsolatedPrefix = "/v1/isolated/";
constexpr std::string_view kJsonType = "application/json; charset=utf-8";
// Where clients of upstream find execd, and so also by a proxied path.
constexpr std::string_view kOwnPort = "44772";
// Longer bodies are streamed: they would only lie in memory until they are whole.
constexpr std::uint64_t kLongUploadBytes = 1U << 20;
// Whose box is full of what runs must be able to end some of it.
constexpr std::size_t kMoreThatEnd = 8;

// What stands below "/proxy/44772" any number of times: it is execd itself that is meant.
std::string_view SkipOwnProxy(std::string_view path) {
  while (path.starts_with(kProxyPrefix)) {
    std::string_view rest = path.substr(kProxyPrefix.size());
    if (!rest.starts_with(kOwnPort)) break;
    rest.remove_prefix(kOwnPort.size());
    if (!rest.empty() && rest.front() != '/') break;
    path = rest.empty() ? std::string_view("/") : rest;
  }
  return path;
}

bool IsUnder(std::string_view path, std::string_view prefix) {
  return path.starts_with(prefix) || path == prefix.substr(0, prefix.size() - 1);
}

bool IsPtySocket(std::string_view path) {
  return path.starts_with("/pty/") && path.ends_with("/ws");
}

bool WantsUpgrade(const http::Fields& fields) {
  return http::FindField(fields, "Upgrade") != nullptr;
}

}  // namespace

class ExecdFace::Impl {
 public:
  Impl(Options options, const Clock& clock, Log log);

  void Serve(http::Call& call, std::string_view path, std::shared_ptr<execd::Daemon> daemon);
  void EndStreams();

 private:
  // Of a request that runs, among those of its box.
  class Place {
   public:
    explicit Place(Impl& face) : face_(face) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place();

   private:
    friend class Impl;
    Impl& face_;
    const execd::Daemon* daemon_ = nullptr;  // once it is taken; who has the place has it alive
  };
  std::shared_ptr<Place> TakePlace(const ExecdCall& call);  // null: there is none
  void Add(std::span<const ExecdRoute> routes);
  // In a thread of its own, where `serve` may block.
  void Run(std::shared_ptr<ExecdCall> call, std::function<void(ExecdCall&)> serve);
  static void ServeLife(ExecdCall& call);
  static bool RedirectSlash(const http::Router& router, ExecdCall& call, std::string_view path);

  const Options options_;
  const Clock& clock_;
  const Log log_;
  http::Router router_;
  std::mutex mutex_;
  std::map<const execd::Daemon*, std::size_t> running_;  // by mutex_; requests of each box
  std::stop_source ending_;
  std::jthread ender_;    // by mutex_
  ExecdThreads threads_;  // last: what runs uses all of the above
};

ExecdFace::Impl::Impl(Options options, const Clock& clock, Log log)
    : options_(options), clock_(clock), log_(std::move(log)), threads_(options.max_threads) {
  Add(ExecdCommandRoutes());
  Add(ExecdSessionRoutes());
  Add(ExecdCodeRoutes());
  Add(ExecdFileRoutes());
  Add(ExecdUploadRoutes());
  Add(ExecdDownloadRoutes());
  Add(ExecdDirectoryRoutes());
  Add(ExecdMetricsRoutes());
  Add(ExecdPtyRoutes());
}

void ExecdFace::Impl::Add(std::span<const ExecdRoute> routes) {
  for (const ExecdRoute& route : routes) {
    // Only Serve() below calls them, and it has an ExecdCall.
    router_.Add(route.method, route.path,
                [serve = route.serve](http::Call& call) { serve(static_cast<ExecdCall&>(call)); });
  }
}

// At once and without a thread: whether it lives is asked when everything else is busy, too.
void ExecdFace::Impl::ServeLife(ExecdCall& call) {
  if (call.daemon->box().Alive()) return call.Done();
  call.Refuse({.status = 503, .code = "RUNTIME_ERROR", .message = "the sandbox has ended"});
}

bool ExecdFace::Impl::RedirectSlash(const http::Router& router, ExecdCall& call,
                                    std::string_view path) {
  if (path.size() < 2 || !path.ends_with('/')) return false;
  path.remove_suffix(1);
  if (router.Find(call.method, path).outcome != http::Router::Outcome::kFound && path != "/ping" &&
      path != "/ready") {
    return false;
  }
  // Relative, since nobody here knows below which path the client sees us.
  const std::size_t slash = path.rfind('/');
  std::string location = "../" + std::string(path.substr(slash + 1));
  if (!call.raw_query.empty()) location += "?" + call.raw_query;
  const bool get = call.method == http::Method::kGet || call.method == http::Method::kHead;
  call.Answer(get ? 301 : 307, "text/plain", "moved\n", {{"Location", location}});
  return true;
}

ExecdFace::Impl::Place::~Place() {
  if (daemon_ == nullptr) return;
  const std::lock_guard lock(face_.mutex_);
  const auto own = face_.running_.find(daemon_);
  if (--own->second == 0) face_.running_.erase(own);
}

std::shared_ptr<ExecdFace::Impl::Place> ExecdFace::Impl::TakePlace(const ExecdCall& call) {
  const bool ends = call.method == http::Method::kDelete;
  const std::size_t most = options_.max_running + (ends ? kMoreThatEnd : 0);
  // A place that was not taken gives nothing back.
  auto place = std::make_unique<Place>(*this);
  const std::lock_guard lock(mutex_);
  std::size_t& running = running_[call.daemon.get()];
  if (running >= most) return nullptr;
  ++running;
  place->daemon_ = call.daemon.get();
  return place;
}

void ExecdFace::Impl::EndStreams() {
  const std::lock_guard lock(mutex_);
  if (ending_.stop_requested() || ender_.joinable()) return;
  // A terminal is told, and may be slow to hear it.
  try {
    ender_ = std::jthread([ending = ending_]() mutable { ending.request_stop(); });
  } catch (const std::system_error&) {  // no more threads: whoever drains waits for them
  }
}

void ExecdFace::Impl::Run(std::shared_ptr<ExecdCall> call, std::function<void(ExecdCall&)> serve) {
  std::shared_ptr<Place> place = TakePlace(*call);
  if (place == nullptr) {
    return call->Refuse({.status = 429,
                         .code = "TOO_MANY_REQUESTS",
                         .message = "too many requests run in this sandbox at once: at most " +
                                    std::to_string(options_.max_running) +
                                    "; interrupt what still runs, or wait for it"});
  }
  const bool runs = threads_.Run([this, call, place = std::move(place), serve = std::move(serve)] {
    try {
      serve(*call);
    } catch (const std::exception& error) {
      log_.Error("execd.failed", {{"request_id", call->request_id}, {"error", error.what()}});
      call->Refuse({.status = 500, .code = "RUNTIME_ERROR", .message = "internal error"});
    }
  });
  if (runs) return;
  call->Refuse({.status = 503,
                .code = "RUNTIME_ERROR",
                .message = "too many requests run at once: at most " +
                           std::to_string(options_.max_threads)});
}

void ExecdFace::Impl::Serve(http::Call& http_call, std::string_view whole_path,
                            std::shared_ptr<execd::Daemon> daemon) {
  auto call = std::make_shared<ExecdCall>();
  call->sub_path = SkipOwnProxy(whole_path);  // a copy: `whole_path` may be in the call
  static_cast<http::Call&>(*call) = std::move(http_call);
  call->daemon = std::move(daemon);
  call->clock = &clock_;
  call->ending = ending_.get_token();
  const std::string_view path = call->sub_path;

  if (IsUnder(path, kProxyPrefix)) {
    return Run(call, [](ExecdCall& proxied) {
      const std::string_view below = proxied.sub_path;
      ServeExecdProxy(proxied,
                      below.size() < kProxyPrefix.size() ? "" : below.substr(kProxyPrefix.size()));
    });
  }
  if (call->body.size() > options_.max_body_bytes) {
    ExecdError refusal =
        InvalidBody("the body has more than " + std::to_string(options_.max_body_bytes) + " bytes");
    refusal.status = 413;
    return call->Refuse(refusal);
  }
  const bool get = call->method == http::Method::kGet || call->method == http::Method::kHead;
  if (get && (path == "/ping" || path == "/ready")) return ServeLife(*call);
  http::Router::Match match = router_.Find(call->method, path);
  if (path.size() > 1 && path.ends_with('/')) {
    if (RedirectSlash(router_, *call, path)) return;
    match.outcome = http::Router::Outcome::kNotFound;
  }
  switch (match.outcome) {
    case http::Router::Outcome::kFound:
      call->params = std::move(match.params);
      return Run(std::move(call), match.route->handler);
    case http::Router::Outcome::kBadEscape:
      return call->Refuse(InvalidBody("the path holds a bad escape"));
    case http::Router::Outcome::kNotFound:
    case http::Router::Outcome::kMethodNotAllowed:
      break;
  }
  if (path.starts_with(kIsolatedPrefix)) {
    return call->Refuse({.status = 503,
                         .code = "SERVICE_UNAVAILABLE",
                         .message = "isolated sessions are not supported"});
  }
  call->Answer(404, "text/plain", "404 page not found");
}

ExecdFace::ExecdFace(Options options, const Clock& clock, Log log)
    : impl_(std::make_unique<Impl>(options, clock, std::move(log))) {}
ExecdFace::~ExecdFace() = default;

void ExecdFace::Serve(http::Call& call, std::string_view path,
                      std::shared_ptr<execd::Daemon> daemon) {
  impl_->Serve(call, path, std::move(daemon));
}

void ExecdFace::EndStreams() { impl_->EndStreams(); }

bool ExecdFace::TakesOver(http::Method method, std::string_view path, const http::Fields& fields) {
  path = SkipOwnProxy(path);
  if (IsUnder(path, kProxyPrefix)) return true;
  if (IsPtySocket(path)) return method == http::Method::kGet && WantsUpgrade(fields);
  if (path != kUploadPath || method != http::Method::kPost) return false;
  const std::string* const length = http::FindField(fields, "Content-Length");
  if (length == nullptr) return true;
  std::uint64_t bytes = 0;
  const auto [stop, error] =
      std::from_chars(length->data(), length->data() + length->size(), bytes);
  return error != std::errc() || bytes > kLongUploadBytes;
}

bool ExecdFace::TokenMatches(const http::Fields& fields, std::string_view token) {
  const std::string* const given = http::FindField(fields, kTokenField);
  if (given == nullptr) return false;
  // Its length is no secret; its bytes are compared all, wherever they differ.
  return given->size() == token.size() &&
         ::CRYPTO_memcmp(given->data(), token.data(), token.size()) == 0;
}

void ExecdFace::Refuse401(http::Call& call) {
  // "error" is what upstream says; the others are what its clients show.
  constexpr std::string_view kBody =
      R"({"error":"Unauthorized: invalid or missing header X-EXECD-ACCESS-TOKEN",)"
      R"("code":"UNAUTHORIZED",)"
      R"("message":"Unauthorized: invalid or missing header X-EXECD-ACCESS-TOKEN"})";
  call.Answer(401, kJsonType, kBody);
}

http::AnswerBody ExecdFace::OwnError(const http::OwnAnswer& answer) {
  const ExecdError error{.status = answer.status,
                         .code = answer.status >= 500 ? "RUNTIME_ERROR" : "INVALID_REQUEST_BODY",
                         .message = std::string(answer.message)};
  return {.content_type = std::string(kJsonType), .body = error.Body()};
}

}  // namespace forkbox::api
