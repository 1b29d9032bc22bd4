#include "api/opensandbox/control_client.h"

#include <curl/curl.h>

#include <memory>
#include <mutex>

#include "api/opensandbox/sandbox_wire.h"

namespace forkbox::api {
namespace {

// A record holds what was asked for, which may be long.
constexpr std::size_t kMaxAnswer = 1U << 20;
constexpr long kConnectTimeoutMs = 2'000;

std::size_t Take(char* data, std::size_t size, std::size_t count, void* to) {
  auto& answer = *static_cast<std::string*>(to);
  if (answer.size() + size * count > kMaxAnswer) return 0;
  answer.append(data, size * count);
  return size * count;
}

// Asked about once a second, and when something moves. Not 0: no further.
int Progress(void* give_up, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::atomic<bool>*>(give_up)->load() ? 1 : 0;
}

}  // namespace

Result<std::string> AskRunner(const std::string& address, const std::string& control_token,
                              const char* method, const std::string& path, const std::string& body,
                              std::chrono::milliseconds timeout, const std::atomic<bool>& give_up) {
  static std::once_flag once;
  std::call_once(once, [] { ::curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(::curl_easy_init(), ::curl_easy_cleanup);
  if (!curl) return Fail(ErrorCode::kInternal, "curl_easy_init");
  curl_slist* list = ::curl_slist_append(nullptr, "Content-Type: application/json");
  list = ::curl_slist_append(list, "Expect:");
  list = ::curl_slist_append(list, (std::string(kControlHeader) + ": " + control_token).c_str());
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, ::curl_slist_free_all);

  const std::string url = "http://" + address + path;
  std::string answer;
  ::curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  ::curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http");
  ::curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  ::curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  ::curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  ::curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  ::curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Take);
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  ::curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  ::curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, Progress);
  ::curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &give_up);
  ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  ::curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, method);

  const CURLcode code = ::curl_easy_perform(curl.get());
  if (code != CURLE_OK) {
    curl_off_t connected = 0;
    ::curl_easy_getinfo(curl.get(), CURLINFO_CONNECT_TIME_T, &connected);
    const bool never =
        code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
        ((code == CURLE_OPERATION_TIMEDOUT || code == CURLE_ABORTED_BY_CALLBACK) && connected == 0);
    return Fail(never ? ErrorCode::kUnavailable : ErrorCode::kDeadlineExceeded,
                std::string("the runner does not answer: ") + ::curl_easy_strerror(code));
  }
  long status = 0;
  ::curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 200 || status == 201) return answer;
  Error error = ControlErrorOf(status, answer);
  // A runner that began anew: nobody's business but ours.
  if (error.code == ErrorCode::kUnauthenticated) error.code = ErrorCode::kUnavailable;
  return Fail(std::move(error));
}

}  // namespace forkbox::api
