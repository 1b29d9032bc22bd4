#include "webhook/curl_sender.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#include <csignal>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace forkbox::webhook {
namespace {

constexpr std::size_t kMaxHeadBytes = 64 << 10;
constexpr std::size_t kMaxBodyBytes = 64 << 10;
constexpr std::size_t kMaxRetryAfterBytes = 64;  // longer is none
constexpr int kPollMillis = 10'000;              // curl's own timers end it earlier

struct HandleCloser {
  void operator()(CURL* handle) const { ::curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};

// Never curl's own message: it may name addresses that are nobody's business.
std::string Words(CURLcode code, std::chrono::milliseconds deadline) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "the host name does not resolve";
    case CURLE_COULDNT_CONNECT:
      return "no connection to the host";
    case CURLE_OPERATION_TIMEDOUT:
      return "no answer within " + std::to_string(deadline.count()) + " ms";
    case CURLE_SSL_CONNECT_ERROR:
      return "the TLS handshake failed";
    case CURLE_PEER_FAILED_VERIFICATION:
      return "the TLS certificate is not to be trusted";
    case CURLE_WRITE_ERROR:    // as we ended it
    case CURLE_OUT_OF_MEMORY:  // as curl ends a line over 100 KB
      return "the head of the answer is too long";
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return "the connection broke off";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return "the answer is not HTTP";
    default:
      return ::curl_easy_strerror(code);
  }
}

}  // namespace

class CurlSender::Loop {
 public:
  Loop(Options options, AddressGuard guard)
      : options_(std::move(options)), guard_(std::move(guard)) {
    FORKBOX_CHECK(::curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);  // counted, and thread-safe
    multi_ = ::curl_multi_init();
    FORKBOX_CHECK(multi_ != nullptr);
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  ~Loop() {
    Abort();
    thread_.request_stop();
    ::curl_multi_wakeup(multi_);
    thread_.join();
    ::curl_multi_cleanup(multi_);
    ::curl_global_cleanup();
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void Send(Request request, Done done) {
    {
      const std::lock_guard lock(mutex_);
      if (!aborted_) {
        arrived_.emplace_back(
            std::make_unique<Transfer>(guard_, std::move(request), std::move(done)));
        ::curl_multi_wakeup(multi_);
        return;
      }
    }
    done({.end = Answer::End::kAborted});
  }

  void Abort() {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    ::curl_multi_wakeup(multi_);
  }

 private:
  struct Transfer {
    Transfer(const AddressGuard& address_guard, Request what, Done whom)
        : guard(address_guard), request(std::move(what)), done(std::move(whom)) {}

    const AddressGuard& guard;
    const Request request;
    const Done done;
    std::unique_ptr<curl_slist, HandleCloser> headers;
    std::unique_ptr<CURL, HandleCloser> handle;  // before the headers go
    bool refused = false;                        // an address was, by the guard
    bool head_complete = false;
    std::size_t head_bytes = 0;
    std::size_t body_bytes = 0;
    long status = 0;
    std::string retry_after;
  };

  static curl_socket_t OpenSocket(void* transfer, curlsocktype purpose, curl_sockaddr* to) {
    auto& self = *static_cast<Transfer*>(transfer);
    const auto address = IpAddress::FromSocket(&to->addr, to->addrlen);
    if (purpose != CURLSOCKTYPE_IPCXN || !address || !self.guard.Allows(*address)) {
      self.refused = true;
      return CURL_SOCKET_BAD;
    }
    return ::socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
  }

  // A line at a time.
  static std::size_t TakeHead(char* data, std::size_t size, std::size_t count, void* transfer) {
    auto& self = *static_cast<Transfer*>(transfer);
    const std::string_view line(data, size * count);
    self.head_bytes += line.size();
    if (self.head_bytes > kMaxHeadBytes) return 0;  // ends the transfer
    if (self.head_complete) return line.size();     // trailers
    constexpr std::string_view kRetryAfter = "retry-after:";
    if (line.size() > kRetryAfter.size() &&
        ::strncasecmp(line.data(), kRetryAfter.data(), kRetryAfter.size()) == 0) {
      const std::string_view value = line.substr(kRetryAfter.size());
      self.retry_after = value.size() <= kMaxRetryAfterBytes ? value : "";
    }
    if (line == "\r\n" || line == "\n") {
      ::curl_easy_getinfo(self.handle.get(), CURLINFO_RESPONSE_CODE, &self.status);
      self.head_complete = self.status >= 200;
      if (!self.head_complete) self.retry_after.clear();  // 1xx: another head follows
    }
    return line.size();
  }

  static std::size_t TakeBody(char* /*data*/, std::size_t size, std::size_t count, void* transfer) {
    auto& self = *static_cast<Transfer*>(transfer);
    self.body_bytes += size * count;
    return self.body_bytes > kMaxBodyBytes ? 0 : size * count;
  }

  bool SetUp(Transfer& transfer) const {
    transfer.handle.reset(::curl_easy_init());
    if (transfer.handle == nullptr) return false;
    CURL* const handle = transfer.handle.get();
    // Without it, bodies over 1 MB would wait for a "100 Continue" that few receivers send.
    std::vector<std::string> headers{"Expect:"};
    headers.insert(headers.end(), transfer.request.headers.begin(), transfer.request.headers.end());
    for (const std::string& header : headers) {
      curl_slist* const longer = ::curl_slist_append(transfer.headers.get(), header.c_str());
      if (longer == nullptr) return false;
      static_cast<void>(transfer.headers.release());
      transfer.headers.reset(longer);
    }
    const std::string& body = transfer.request.body;
    bool ok = true;
    const auto set = [&](CURLoption option, auto value) {
      ok = ::curl_easy_setopt(handle, option, value) == CURLE_OK && ok;
    };
    set(CURLOPT_PRIVATE, &transfer);
    set(CURLOPT_URL, transfer.request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_NETRC, long{CURL_NETRC_IGNORED});
    set(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
    set(CURLOPT_OPENSOCKETDATA, &transfer);
    // A connection that is open already would get past the guard.
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_FORBID_REUSE, 1L);
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
    set(CURLOPT_HTTP09_ALLOWED, 0L);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
    if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.deadline.count()));
    set(CURLOPT_NOSIGNAL, 1L);
    // A resolver that hangs is left alone with its thread; to wait for it would stop this one.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_USERAGENT, "forkbox/" FORKBOX_VERSION);
    set(CURLOPT_HTTPHEADER, transfer.headers.get());
    set(CURLOPT_POSTFIELDS, body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    set(CURLOPT_HEADERFUNCTION, &TakeHead);
    set(CURLOPT_HEADERDATA, &transfer);
    set(CURLOPT_WRITEFUNCTION, &TakeBody);
    set(CURLOPT_WRITEDATA, &transfer);
    return ok;
  }

  void Run(const std::stop_token& stop) {
    // OpenSSL writes to sockets that may be closed.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);

    while (true) {
      const bool last = stop.stop_requested();  // then nothing arrives any more
      std::vector<std::unique_ptr<Transfer>> arrived;
      bool aborted = false;
      {
        const std::lock_guard lock(mutex_);
        arrived.swap(arrived_);
        aborted = aborted_;
      }
      for (auto& transfer : arrived) Begin(std::move(transfer));
      if (aborted) {
        while (!active_.empty()) End(active_.begin()->first, {.end = Answer::End::kAborted});
      }
      if (last) return;
      int running = 0;
      ::curl_multi_perform(multi_, &running);
      int left = 0;
      while (const CURLMsg* const message = ::curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* const handle = message->easy_handle;
        const CURLcode code = message->data.result;  // the message goes with its handle
        End(handle, AnswerOf(*active_.at(handle), code));
      }
      ::curl_multi_poll(multi_, nullptr, 0, kPollMillis, nullptr);
    }
  }

  void Begin(std::unique_ptr<Transfer> transfer) {
    if (!SetUp(*transfer) || ::curl_multi_add_handle(multi_, transfer->handle.get()) != CURLM_OK) {
      transfer->done({.error = "the request could not be set up"});
      return;
    }
    CURL* const handle = transfer->handle.get();
    active_.emplace(handle, std::move(transfer));
  }

  [[nodiscard]] Answer AnswerOf(const Transfer& transfer, CURLcode code) const {
    if (transfer.head_complete) {
      return {.end = Answer::End::kAnswered,
              .status = static_cast<int>(transfer.status),
              .retry_after = transfer.retry_after};
    }
    if (transfer.refused && code == CURLE_COULDNT_CONNECT) {
      return {.end = Answer::End::kRefused,
              .error = "the host resolves to an address that webhooks may not be sent to"};
    }
    return {.end = Answer::End::kFailed, .error = Words(code, options_.deadline)};
  }

  void End(CURL* handle, Answer answer) {
    ::curl_multi_remove_handle(multi_, handle);
    const auto transfer = active_.extract(handle);
    transfer.mapped()->done(std::move(answer));
  }

  const Options options_;
  const AddressGuard guard_;
  CURLM* multi_ = nullptr;
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> active_;  // the thread's own
  std::mutex mutex_;
  bool aborted_ = false;                            // guarded by mutex_
  std::vector<std::unique_ptr<Transfer>> arrived_;  // guarded by mutex_
  std::jthread thread_;                             // last: it uses all of the above
};

CurlSender::CurlSender(Options options, AddressGuard guard)
    : loop_(std::make_unique<Loop>(std::move(options), std::move(guard))) {}
CurlSender::~CurlSender() = default;
void CurlSender::Send(Request request, Done done) {
  loop_->Send(std::move(request), std::move(done));
}
void CurlSender::Abort() { loop_->Abort(); }

}  // namespace forkbox::webhook
