#include "api/http/response_head.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::http {
namespace {

std::string WithoutDate(std::string text) {
  const std::size_t at = text.find("Date: ");
  if (at != std::string::npos) text.erase(at, text.find("\r\n", at) + 2 - at);
  return text;
}

TEST(ResponseHeadTest, NoValueStartsALineOfItsOwn) {
  const Fields headers = {{"X-Evil", "a\r\nX-Injected: 1"}, {"Bad Name", "x"}, {"X-\r\nY", "x"}};
  ResponseHead head;
  head.content_type = "text/plain\r\nX-Injected: 2";
  head.request_id = "r";
  head.headers = &headers;
  head.content_length = 3;
  EXPECT_EQ(WithoutDate(head.Format()),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain  X-Injected: 2\r\n"
            "X-Evil: a  X-Injected: 1\r\nX-Request-Id: r\r\nConnection: keep-alive\r\n"
            "Content-Length: 3\r\n\r\n");
}

TEST(ResponseHeadTest, KeepsItsOwnFieldsToItself) {
  const Fields headers = {{"content-length", "99"},
                          {"Transfer-Encoding", "gzip"},
                          {"Connection", "upgrade"},
                          {"X-Request-ID", "forged"},
                          {"Allow", "GET"}};
  ResponseHead head;
  head.status = 405;
  head.request_id = "r";
  head.headers = &headers;
  head.keep_alive = false;
  head.chunked = true;
  EXPECT_EQ(WithoutDate(head.Format()),
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nX-Request-Id: r\r\n"
            "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
}

TEST(ResponseHeadTest, DateHasTheFixedForm) {
  ResponseHead head;
  const std::string text = head.Format();
  const std::size_t at = text.find("Date: ");
  ASSERT_NE(at, std::string::npos);
  const std::string date = text.substr(at + 6, text.find("\r\n", at) - at - 6);
  EXPECT_EQ(date.size(), std::string("Sun, 06 Nov 1994 08:49:37 GMT").size()) << date;
  EXPECT_EQ(date.substr(25), " GMT") << date;
}

}  // namespace
}  // namespace forkbox::http
