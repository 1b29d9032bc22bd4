#include "webhook/url_check.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>

namespace forkbox::webhook {
namespace {

class Url {
 public:
  Url() : handle_(::curl_url(), ::curl_url_cleanup) {}

  CURLUcode Parse(const std::string& text) {
    if (handle_ == nullptr) return CURLUE_OUT_OF_MEMORY;
    return ::curl_url_set(handle_.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER);
  }
  // "" when the URL has no such part.
  [[nodiscard]] std::string Part(CURLUPart part) const {
    char* found = nullptr;
    if (::curl_url_get(handle_.get(), part, &found, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
    const std::unique_ptr<char, void (*)(void*)> owned(found, ::curl_free);
    return found;
  }

 private:
  std::unique_ptr<CURLU, void (*)(CURLU*)> handle_;
};

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string_view LastLabel(std::string_view host) {
  return host.substr(host.rfind('.') + 1);  // npos + 1 is 0
}

// Letters, digits, hyphens and underscores, in labels of 1 to 63.
bool IsName(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  std::size_t label = 0;
  for (const char c : host) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      continue;
    }
    const bool good = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    if (!good || ++label > 63) return false;
  }
  return label != 0;
}

// No name ends like this; what does was meant as an address, and some resolver may take it for one.
bool EndsInNumber(std::string_view host) {
  const std::string_view last = LastLabel(host);
  const bool hexadecimal = last.starts_with("0x");
  return std::all_of(last.begin() + (hexadecimal ? 2 : 0), last.end(), [&](char c) {
    return (hexadecimal ? std::isxdigit(c) : std::isdigit(c)) != 0;
  });
}

// Why not, or null. `host` is in lower case.
const char* RefusalOfHost(std::string_view host, const AddressGuard& guard) {
  constexpr const char* kRefusedAddress = "the host is an address that webhooks may not be sent to";
  if (host.starts_with('[')) {
    const auto address = IpAddress::Parse(host.substr(1, host.size() - 2));
    if (!address) return "the host is no valid address";
    return guard.Allows(*address) ? nullptr : kRefusedAddress;
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!IsName(host)) return "the host is no valid name";
  if (const auto address = IpAddress::Parse(host)) {
    return guard.Allows(*address) ? nullptr : kRefusedAddress;
  }
  if (EndsInNumber(host)) return "the host is no valid address";
  const std::string_view last = LastLabel(host);
  if (last == "localhost" || last == "localdomain") {
    return guard.AllowsLoopback() ? nullptr : "the host is this machine";
  }
  if ((last == "local" || last == "internal") && !guard.HasExceptions()) {
    return "the host is a name of a private network";
  }
  return nullptr;
}

const char* RefusalOfUrl(std::string_view text, const AddressGuard& guard) {
  if (text.empty()) return "is empty";
  if (text.size() > kMaxWebhookUrlBytes) return "is longer than 2048 bytes";
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (!printable) return "has a character that must be percent-encoded, or in a host be punycode";
  if (text.find('\\') != std::string_view::npos) return "has a backslash";
  const std::string beginning = Lower(std::string(text.substr(0, 8)));
  const std::size_t scheme = beginning.starts_with("http://")    ? 7
                             : beginning.starts_with("https://") ? 8
                                                                 : 0;
  if (scheme == 0) return "must begin with http:// or https://";
  // curl would skip a third slash, other parsers would not.
  if (text.size() == scheme || text[scheme] == '/') return "has no host";

  Url url;
  switch (url.Parse(std::string(text))) {
    case CURLUE_OK:
      break;
    case CURLUE_USER_NOT_ALLOWED:
      return "must not contain a user name or password";
    case CURLUE_BAD_PORT_NUMBER:
      return "has no valid port";
    case CURLUE_NO_HOST:
    case CURLUE_BAD_HOSTNAME:
    case CURLUE_BAD_IPV6:
      return "has no valid host";
    default:
      return "is no valid URL";
  }
  if (url.Part(CURLUPART_PORT) == "0") return "has no valid port";
  if (!url.Part(CURLUPART_ZONEID).empty()) return "the host has a zone, which is only valid here";
  return RefusalOfHost(Lower(url.Part(CURLUPART_HOST)), guard);
}

}  // namespace

Result<void> CheckWebhookUrl(std::string_view url, const AddressGuard& guard) {
  const char* const refusal = RefusalOfUrl(url, guard);
  if (refusal == nullptr) return {};
  return Fail(ErrorCode::kInvalidArgument, std::string("webhook_url: ") + refusal);
}

std::string WebhookHost(const std::string& url) {
  Url parsed;
  if (parsed.Parse(url) != CURLUE_OK) return {};
  return Lower(parsed.Part(CURLUPART_HOST));
}

}  // namespace forkbox::webhook
