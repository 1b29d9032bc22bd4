#include "cli/http_client.h"

#include <curl/curl.h>

#include <memory>

namespace forkbox::cli {

namespace {

constexpr std::size_t kMaxBodyBytes = 64U << 20;

extern "C" std::size_t TakeBody(char* data, std::size_t size, std::size_t count, void* body) {
  auto& text = *static_cast<std::string*>(body);
  const std::size_t bytes = size * count;
  if (text.size() + bytes > kMaxBodyBytes) return 0;  // ends the transfer with an error
  text.append(data, bytes);
  return bytes;
}

}  // namespace

Result<HttpResponse> PostJson(const std::string& url, const std::string& bearer_key,
                              const std::string& body, std::chrono::seconds timeout) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(::curl_easy_init(), ::curl_easy_cleanup);
  if (curl == nullptr) return Fail(ErrorCode::kInternal, "libcurl cannot be set up");
  curl_slist* list = ::curl_slist_append(nullptr, "Content-Type: application/json");
  if (!bearer_key.empty()) {
    list = ::curl_slist_append(list, ("Authorization: Bearer " + bearer_key).c_str());
  }
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, ::curl_slist_free_all);

  HttpResponse response;
  char error[CURL_ERROR_SIZE] = {};
  ::curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, error);
  ::curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  ::curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.data());
  ::curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, TakeBody);
  ::curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &response.body);
  ::curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 10L);
  ::curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, static_cast<long>(timeout.count()));
  ::curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  const CURLcode code = ::curl_easy_perform(curl.get());
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return Fail(ErrorCode::kInvalidArgument, "not an http or https URL: " + url);
  }
  if (code != CURLE_OK) {
    const char* why = error[0] != '\0' ? error : ::curl_easy_strerror(code);
    return Fail(ErrorCode::kUnavailable, url + ": " + why);
  }
  ::curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &response.status);
  return response;
}

}  // namespace forkbox::cli
