// Hostile and odd bytes over real sockets: each gets its answer or its end, and after each the
// server serves the next client.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {
namespace {

using namespace std::string_literals;

struct RawCase {
  std::string name;
  std::vector<std::string> parts;  // sent one after the other
  std::vector<int> statuses;       // of the answers, in order
  bool closes = false;             // the server ends the connection after them
};

std::string Head(const std::string& lines) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n";
}

std::vector<RawCase> RawCases() {
  const std::string get = GetRequest("/q");
  const std::string chunked = Head("Transfer-Encoding: chunked\r\n");
  std::string fields;
  for (int i = 0; i < 300; ++i) fields += "X-" + std::to_string(i) + ": y\r\n";
  return {
      {"get", {get}, {200}},
      {"get_twice", {get, get}, {200, 200}},
      {"pipelined", {get + get + get}, {200, 200, 200}},
      {"pipelined_later",
       {GetRequest("/token?t=a&us=3000") + get + GetRequest("/token?t=b&us=1000")},
       {200, 200, 200}},
      {"post_then_pipelined", {PostRequest("/echo", "abc") + get}, {200, 200}},
      {"http10", {"GET /q HTTP/1.0\r\n\r\n"}, {200}, true},
      {"http10_keep", {"GET /q HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", get}, {200, 200}},
      {"connection_close", {GetRequest("/q", "Connection: close\r\n")}, {200}, true},
      {"close_then_more", {GetRequest("/q", "Connection: close\r\n") + get}, {200}, true},
      {"empty_lines_first", {"\r\n\r\n" + get}, {200}},
      {"no_host", {"GET /q HTTP/1.1\r\n\r\n"}, {400}, true},
      {"two_hosts", {GetRequest("/q", "Host: b\r\n")}, {400}, true},
      {"unknown_method", {"FOO /q HTTP/1.1\r\nHost: x\r\n\r\n"}, {501}, true},
      {"known_method_elsewhere", {"PATCH /q HTTP/1.1\r\nHost: x\r\n\r\n"}, {405}},
      {"nothing_there", {GetRequest("/nothing"), get}, {404, 200}},
      {"garbage_line", {"asdf\r\n\r\n"}, {400}, true},
      {"tls_hello",
       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(100, '\0')},
       {400},
       true},
      {"lf_only", {"GET /q HTTP/1.1\nHost: x\n\n"}, {400}, true},
      {"version_2", {"GET /q HTTP/2.0\r\nHost: x\r\n\r\n"}, {505}, true},
      {"nul_in_target", {"GET /q\0/x HTTP/1.1\r\nHost: x\r\n\r\n"s}, {400}, true},
      {"folded", {GetRequest("/q", "X-A: a\r\n b\r\n")}, {400}, true},
      {"long_target", {GetRequest("/" + std::string(5000, 'a'))}, {414}, true},
      {"slashes", {GetRequest(std::string(4000, '/') + "q")}, {200}},
      {"dots", {GetRequest("/../../etc/passwd")}, {404}},
      {"bad_escape_in_query", {GetRequest("/q?a=%zz")}, {200}},
      {"large_header",
       {GetRequest("/q", "X-A: " + std::string(100'000, 'y') + "\r\n")},
       {431},
       true},
      {"many_fields", {GetRequest("/q", fields)}, {431}, true},
      {"length_text", {Head("Content-Length: abc\r\n") + "abc"}, {400}, true},
      {"length_10_gb", {Head("Content-Length: 10000000000\r\n") + "abc"}, {413}, true},
      {"lengths_differ",
       {Head("Content-Length: 3\r\nContent-Length: 5\r\n") + "abcde"},
       {400},
       true},
      {"length_and_chunks",
       {Head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + get},
       {400},
       true},
      // One answer, not one for each piece of the body read as a request of its own.
      {"body_too_large", {PostRequest("/echo", std::string(2'000'000, 'x'))}, {413}, true},
      {"coding_gzip", {Head("Transfer-Encoding: gzip\r\n") + "abc"}, {501}, true},
      {"chunks", {chunked + "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", get}, {200, 200}},
      {"chunks_cut",
       {chunked, "3\r", "\nab", "c\r\n4", "\r\ndefg", "\r", "\n0\r\n", "\r\n", get},
       {200, 200}},
      {"chunks_late_end", {chunked + "3\r\nabc\r\n0\r\n", "\r\n", get}, {200, 200}},
      {"chunk_trailer", {chunked + "3\r\nabc\r\n0\r\nX-T: v\r\n\r\n" + get}, {200, 200}},
      {"chunk_size_negative", {chunked + "-2\r\nabc\r\n0\r\n\r\n"}, {400}, true},
      {"chunk_size_huge", {chunked + "7fffffffffffffff\r\nabc\r\n0\r\n\r\n"}, {413}, true},
      {"chunk_without_end", {chunked + "3\r\nabcXX0\r\n\r\n"}, {400}, true},
      {"expect_other", {Head("Content-Length: 3\r\nExpect: zzz\r\n") + "abc"}, {417}, true},
      {"expect_too_large",
       {Head("Content-Length: 2000000\r\nExpect: 100-continue\r\n")},
       {413},
       true},
      {"cookie_odd", {GetRequest("/q", "Cookie: ;;;=;a\r\n")}, {200}},
      {"accept_star", {GetRequest("/q", "Accept: *\r\n")}, {200}},
      {"content_type_odd", {PostRequest("/echo", "a", "Content-Type: zzz\r\n")}, {200}},
      {"cache_control", {GetRequest("/q", "Cache-Control: stale-while-revalidate=3\r\n")}, {200}},
      {"upgrade", {GetRequest("/q", "Connection: upgrade\r\nUpgrade: websocket\r\n")}, {200}},
  };
}

class HttpFramingTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    trial_ = new TrialServer;
    trial_->Start();
  }
  static void TearDownTestSuite() {
    delete trial_;
    trial_ = nullptr;
  }
  static TrialServer* trial_;
};
TrialServer* HttpFramingTest::trial_ = nullptr;

TEST_F(HttpFramingTest, EachRawRequestIsAnsweredAndTheNextClientServed) {
  for (const RawCase& test : RawCases()) {
    SCOPED_TRACE(test.name);
    HttpClient client = trial_->Connect();
    bool open = true;
    for (const std::string& part : test.parts) open = open && client.Send(part);
    for (const int status : test.statuses) {
      const auto response = client.Read();
      ASSERT_TRUE(response.has_value());
      EXPECT_EQ(response->status, status);
      EXPECT_TRUE(response->complete);
      if (status >= 400) {
        EXPECT_EQ(response->Header("Content-Type"), "application/json");
        EXPECT_TRUE(response->body.starts_with("{\"error\":\"")) << response->body;
        EXPECT_FALSE(response->Header("X-Request-Id").empty());
      }
      EXPECT_EQ(response->Header("Connection") == "close",
                test.closes && status == test.statuses.back());
    }
    std::string rest;
    if (test.closes) {
      // A reset is what a client gets that keeps on sending; its answer came first.
      EXPECT_NE(client.ReadToEnd(&rest), Ending::kTimeout);
    }
    EXPECT_EQ(rest, "");
    client.Close();
    EXPECT_TRUE(trial_->IsAlive());
  }
  EXPECT_TRUE(Eventually([] { return trial_->IsIdle(); }));
}

// 0.0.5 hangs a worker for ever when a read ends between CR and LF after a chunk; fast senders of
// small chunks hit that after some megabytes.
TEST_F(HttpFramingTest, ManySmallChunksArriveWhole) {
  std::string body;
  std::string bytes = Head("Transfer-Encoding: chunked\r\n");
  for (int i = 0; i < 900; ++i) {
    const std::string chunk(static_cast<std::size_t>(900 + i % 7), static_cast<char>('a' + i % 26));
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", chunk.size());
    bytes += size + chunk + "\r\n";
    body += chunk;
  }
  bytes += "0\r\n\r\n";
  HttpClient client = trial_->Connect();
  for (int i = 0; i < 20; ++i) {
    const auto response = client.Ask(bytes);
    ASSERT_TRUE(response.has_value()) << i;
    ASSERT_EQ(response->body, body) << i;
  }
}

TEST_F(HttpFramingTest, ChunkedBodyMayBeCutAtEveryByte) {
  const std::string bytes =
      Head("Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: v\r\n\r\n";
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    HttpClient client = trial_->Connect();
    ASSERT_TRUE(client.Send(bytes.substr(0, cut)));
    ASSERT_TRUE(client.Send(bytes.substr(cut)));
    const auto response = client.Read();
    ASSERT_TRUE(response.has_value()) << cut;
    EXPECT_EQ(response->body, "abcdefg") << cut;
  }
}

TEST_F(HttpFramingTest, AClientThatWaitsForItIsToldToContinue) {
  HttpClient client = trial_->Connect();
  const auto told = client.Ask(Head("Content-Length: 3\r\nExpect: 100-continue\r\n"));
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->status, 100);
  const auto response = client.Ask("abc");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "abc");
}

TEST_F(HttpFramingTest, RequestIdsAreKeptOrMade) {
  HttpClient client = trial_->Connect();
  auto response = client.Ask(GetRequest("/q", "X-Request-ID: my.id:7_a-b\r\n"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->Header("X-Request-Id"), "my.id:7_a-b");
  for (const std::string bad : {"", "has blank", "quote\"", "\xff"}) {
    response = client.Ask(GetRequest("/q", "X-Request-ID: " + bad + "\r\n"));
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->Header("X-Request-Id").size(), 36U) << bad;
  }
  response = client.Ask(GetRequest("/nothing", "X-Request-ID: kept\r\n"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->Header("X-Request-Id"), "kept");
}

TEST_F(HttpFramingTest, MethodNotAllowedNamesTheAllowed) {
  HttpClient client = trial_->Connect();
  const auto response = client.Ask("DELETE /q HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 405);
  EXPECT_EQ(response->Header("Allow"), "GET, HEAD");
}

TEST_F(HttpFramingTest, HeadIsAnsweredWithoutABody) {
  HttpClient client = trial_->Connect();
  for (const std::string path : {"/q", "/file?bytes=100", "/count?n=3", "/nothing"}) {
    SCOPED_TRACE(path);
    ASSERT_TRUE(client.Send("HEAD " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"));
    const auto response = client.Read(kPatience, /*head_only=*/true);
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->status, path == "/nothing" ? 404 : 200);
  }
  const auto next = client.Ask(GetRequest("/q"));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->body, "ok");
}

}  // namespace
}  // namespace forkbox::http
