#include "api/http/response_head.h"

#include <time.h>

#include <algorithm>
#include <array>

namespace forkbox::http {
namespace {

constexpr std::array<std::string_view, 5> kOwnFields = {"content-length", "transfer-encoding",
                                                        "connection", "x-request-id", "date"};

bool IsFieldName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c > 0x20 && c < 0x7f &&
           std::string_view("\"(),/:;<=>?@[\\]{}").find(c) == std::string_view::npos;
  });
}

void AppendCleaned(std::string_view value, std::string* text) {
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    text->push_back((byte < 0x20 && c != '\t') || byte == 0x7f ? ' ' : c);
  }
}

void AppendField(std::string_view name, std::string_view value, std::string* text) {
  text->append(name).append(": ");
  AppendCleaned(value, text);
  text->append("\r\n");
}

void AppendDate(std::string* text) {  // RFC 9110, 5.6.7
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                       "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto two_digits = [text](int number) {
    text->push_back(static_cast<char>('0' + number / 10 % 10));
    text->push_back(static_cast<char>('0' + number % 10));
  };
  const time_t now = ::time(nullptr);
  tm utc{};
  ::gmtime_r(&now, &utc);
  text->append("Date: ").append(kDays[static_cast<std::size_t>(utc.tm_wday)]).append(", ");
  two_digits(utc.tm_mday);
  text->append(" ").append(kMonths[static_cast<std::size_t>(utc.tm_mon)]).append(" ");
  two_digits((utc.tm_year + 1900) / 100);
  two_digits(utc.tm_year % 100);
  text->push_back(' ');
  two_digits(utc.tm_hour);
  text->push_back(':');
  two_digits(utc.tm_min);
  text->push_back(':');
  two_digits(utc.tm_sec);
  text->append(" GMT\r\n");
}

}  // namespace

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 425:
      return "Too Early";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Status";
  }
}

std::string ResponseHead::Format() const {
  std::string text;
  text.reserve(256);
  text.append("HTTP/1.1 ").append(std::to_string(status)).append(" ");
  text.append(ReasonPhrase(status)).append("\r\n");
  if (!content_type.empty()) AppendField("Content-Type", content_type, &text);
  AppendDate(&text);
  if (headers != nullptr) {
    for (const auto& [name, value] : *headers) {
      const bool own = std::any_of(
          kOwnFields.begin(), kOwnFields.end(),
          [&name](std::string_view own_name) { return EqualIgnoringCase(name, own_name); });
      if (!own && IsFieldName(name)) AppendField(name, value, &text);
    }
  }
  AppendField("X-Request-Id", request_id, &text);
  text.append(keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
  if (content_length) {
    text.append("Content-Length: ").append(std::to_string(*content_length)).append("\r\n");
  }
  if (chunked) text.append("Transfer-Encoding: chunked\r\n");
  text.append("\r\n");
  return text;
}

}  // namespace forkbox::http
