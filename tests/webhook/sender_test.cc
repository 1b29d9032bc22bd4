// CurlSender against receivers that mean harm.
#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>

#include "tests/webhook/fake_resolver.h"
#include "tests/webhook/receiver.h"
#include "webhook/curl_sender.h"

namespace forkbox::webhook {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using tests::Receiver;
using Talk = Receiver::Talk;

constexpr std::chrono::milliseconds kDeadline{1'500};

AddressGuard Allowing(const char* networks) { return *AddressGuard::Parse(networks); }

class SenderTest : public testing::Test {
 protected:
  std::future<Answer> Send(const std::string& url, std::string body = "{}") {
    auto promise = std::make_shared<std::promise<Answer>>();
    sender_.Send({.url = url, .headers = {"x-test: 1"}, .body = std::move(body)},
                 [promise](Answer answer) { promise->set_value(std::move(answer)); });
    return promise->get_future();
  }
  CurlSender sender_{{.deadline = kDeadline}, Allowing("127.0.0.1")};
};

Answer SendBy(const CurlSender::Options& options, const char* allowed, const std::string& url) {
  CurlSender sender(options, Allowing(allowed));
  std::promise<Answer> answer;
  sender.Send({.url = url, .headers = {}, .body = "{}"},
              [&](Answer came) { answer.set_value(std::move(came)); });
  return answer.get_future().get();
}

TEST_F(SenderTest, MakesAPlainPost) {
  Receiver receiver([](Talk& talk) { talk.Answer(202); });
  const std::string body = R"({"text":"\u00e4 line\nand another"})";
  const Answer answer = Send(receiver.Url("/a/b?c=d&e=%20#part"), body).get();
  EXPECT_EQ(answer.end, Answer::End::kAnswered);
  EXPECT_EQ(answer.status, 202);
  const auto posts = receiver.posts();
  ASSERT_EQ(posts.size(), 1U);
  EXPECT_EQ(posts[0].method, "POST");
  EXPECT_EQ(posts[0].target, "/a/b?c=d&e=%20");
  EXPECT_EQ(posts[0].body, body);
  std::vector<std::string> names;
  for (const auto& [name, value] : posts[0].headers) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("accept", "content-length", "content-type", "host", "user-agent",
                                 "x-test"));
  EXPECT_THAT(posts[0].headers.at("user-agent"), testing::StartsWith("forkbox/"));
  EXPECT_EQ(posts[0].headers.at("host"), "127.0.0.1:" + std::to_string(receiver.port()));
}

TEST_F(SenderTest, SendsLongBodiesWithoutAskingFirst) {
  Receiver receiver([](Talk& talk) { talk.Answer(200); });
  const std::string body(5 << 20, 'x');
  EXPECT_EQ(Send(receiver.Url(), body).get().status, 200);
  EXPECT_EQ(receiver.posts()[0].body, body);
}

TEST_F(SenderTest, TakesNothingFromTheEnvironment) {
  Receiver proxy([](Talk& talk) { talk.Answer(200); });
  Receiver receiver([](Talk& talk) { talk.Answer(200); });
  for (const char* const name : {"http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"}) {
    ::setenv(name, proxy.Url("/").c_str(), 1);
  }
  Send(receiver.Url()).get();
  for (const char* const name : {"http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"}) {
    ::unsetenv(name);
  }
  EXPECT_EQ(proxy.connections(), 0U);
  EXPECT_EQ(receiver.posts().size(), 1U);
}

TEST_F(SenderTest, SpeaksHttpOnly) {
  for (const char* const url :
       {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "telnet://127.0.0.1/",
        "dict://127.0.0.1/", "smtp://127.0.0.1/", "no url", ""}) {
    EXPECT_EQ(Send(url).get().end, Answer::End::kFailed) << url;
  }
}

TEST_F(SenderTest, RemembersNothingOfAReceiver) {
  Receiver receiver([](Talk& talk) {
    talk.Answer(200,
                "Set-Cookie: a=b\r\nStrict-Transport-Security: max-age=9999\r\n"
                "Alt-Svc: h2=\":1\"\r\nConnection: keep-alive\r\n");
    talk.WaitForClose();
  });
  EXPECT_EQ(Send(receiver.Url()).get().status, 200);
  EXPECT_EQ(Send(receiver.Url()).get().status, 200);
  EXPECT_EQ(receiver.connections(), 2U);
  EXPECT_FALSE(receiver.posts()[1].headers.contains("cookie"));
}

TEST_F(SenderTest, FollowsNoRedirect) {
  Receiver inside([](Talk& talk) { talk.Answer(200); });
  for (const int status : {301, 302, 303, 307, 308}) {
    Receiver receiver([&](Talk& talk) {
      talk.Answer(status, "Location: " + inside.Url("/secret") +
                              "\r\nRefresh: 0; url=" + inside.Url() + "\r\n");
    });
    EXPECT_EQ(Send(receiver.Url()).get().status, status);
  }
  EXPECT_EQ(inside.connections(), 0U);
}

TEST(SenderTrials, SurvivesEveryAnswer) {
  const std::string long_line = "X: " + std::string(1 << 20, 'x') + "\r\n";
  std::string many_lines;
  while (many_lines.size() < 1 << 20) many_lines += "X-Header: value\r\n";
  std::string many_heads;
  while (many_heads.size() < 1 << 20) many_heads += "HTTP/1.1 103 Early Hints\r\n\r\n";
  const std::string head = "HTTP/1.1 200 OK\r\n";
  struct Case {
    const char* name;
    Receiver::Behaviour behaviour;
    int status;         // 0: none
    const char* error;  // then
    bool at_deadline = false;
  };
  const Case cases[] = {
      {"status only", [&](Talk& t) { t.Write("HTTP/1.1 204 No Content\r\n\r\n"); }, 204, ""},
      {"gone", [](Talk& t) { t.Answer(410); }, 410, ""},
      {"odd status", [](Talk& t) { t.Answer(999); }, 999, ""},
      {"http/1.0", [](Talk& t) { t.Write("HTTP/1.0 200 OK\r\n\r\nbody"); }, 200, ""},
      {"bare line feeds", [](Talk& t) { t.Write("HTTP/1.1 200 OK\n\nbody"); }, 200, ""},
      {"interim answers",
       [&](Talk& t) {
         t.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + head + "\r\n");
       },
       200, ""},
      {"interim answers only",
       [&](Talk& t) {
         t.Write(many_heads);
         t.WaitForClose();
       },
       0, "too long"},
      {"an interim answer, then nothing", [](Talk& t) { t.Write("HTTP/1.1 100 Continue\r\n\r\n"); },
       0, ""},
      {"long body",
       [&](Talk& t) {
         t.Write(head + "Content-Length: 1048576\r\n\r\n" + std::string(1 << 20, 'x'));
         t.WaitForClose();
       },
       200, ""},
      {"long error body",
       [&](Talk& t) {
         t.Write("HTTP/1.1 500 X\r\n\r\n" + std::string(1 << 20, 'x'));
         t.WaitForClose();
       },
       500, ""},
      {"endless body",
       [&](Talk& t) {
         if (t.Write(head + "Transfer-Encoding: chunked\r\n\r\n")) {
           while (t.Write("8\r\nxxxxxxxx\r\n")) {
           }
         }
       },
       200, ""},
      {"compressed body",
       [&](Talk& t) { t.Write(head + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"); },
       200, ""},
      {"bad chunk",
       [&](Talk& t) {
         t.Write(head + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nx");
       },
       200, ""},
      {"body cut short", [&](Talk& t) { t.Write(head + "Content-Length: 100\r\n\r\nx"); }, 200, ""},
      {"reset in the body",
       [&](Talk& t) {
         t.Write(head + "Content-Length: 100\r\n\r\nx");
         std::this_thread::sleep_for(100ms);
         t.Reset();
       },
       200, ""},
      {"body in drops",
       [&](Talk& t) {
         if (t.Write(head + "\r\n")) t.Drip(std::string(1'000, 'x'), 50ms);
       },
       200, "", true},
      {"many headers",
       [&](Talk& t) {
         t.Write(head + many_lines);
         t.WaitForClose();
       },
       0, "too long"},
      {"one long header",
       [&](Talk& t) {
         t.Write(head + long_line);
         t.WaitForClose();
       },
       0, "too long"},
      {"long status",
       [&](Talk& t) {
         t.Write("HTTP/1.1 200 " + long_line);
         t.WaitForClose();
       },
       0, "too long"},
      {"long trailers",
       [&](Talk& t) {
         t.Write(head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + many_lines);
         t.WaitForClose();
       },
       200, ""},
      {"nonsense length", [&](Talk& t) { t.Write(head + "Content-Length: -1\r\n\r\n"); }, 0, ""},
      {"no HTTP", [](Talk& t) { t.Write("hello\r\n\r\n"); }, 0, "not HTTP"},
      {"another protocol",
       [](Talk& t) {
         t.Write("SSH-2.0-OpenSSH_9\r\n");
         t.WaitForClose();
       },
       0, "not HTTP"},
      {"zeros", [](Talk& t) { t.Write(std::string(1'000, '\0')); }, 0, ""},
      {"end without answer", [](Talk&) {}, 0, "broke off"},
      {"reset without answer", [](Talk& t) { t.Reset(); }, 0, "broke off"},
      {"reset in the head",
       [&](Talk& t) {
         t.Write(head + "X: ");
         std::this_thread::sleep_for(100ms);
         t.Reset();
       },
       0, "broke off"},
      {"silence", [](Talk& t) { t.WaitForClose(); }, 0, "no answer within 1500 ms", true},
      {"head in drops", [&](Talk& t) { t.Drip(head + many_lines, 50ms); }, 0,
       "no answer within 1500 ms", true},
  };
  for (const Case& one : cases) {
    Receiver receiver(one.behaviour);
    const auto start = steady_clock::now();
    const Answer answer =
        SendBy({.deadline = one.at_deadline ? kDeadline : 60s}, "127.0.0.1", receiver.Url());
    const auto took = steady_clock::now() - start;
    EXPECT_EQ(answer.end, one.status == 0 ? Answer::End::kFailed : Answer::End::kAnswered)
        << one.name;
    EXPECT_EQ(answer.status, one.status) << one.name;
    if (one.status == 0) {
      EXPECT_NE(answer.error, "") << one.name;
      EXPECT_THAT(answer.error, HasSubstr(one.error)) << one.name;
      EXPECT_THAT(answer.error, Not(HasSubstr("127.0.0.1"))) << one.name;
    }
    if (one.at_deadline) {
      EXPECT_GE(took, kDeadline - 10ms) << one.name;
    }
    EXPECT_LT(took, 30s) << one.name;
  }
}

TEST_F(SenderTest, HearsWhenToComeAgain) {
  const std::pair<std::string, std::string> cases[] = {
      {"Retry-After: 120\r\n", "120"},
      {"RETRY-AFTER:120\r\n", "120"},
      {"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sun, 06 Nov 1994 08:49:37 GMT"},
      {"Retry-After: " + std::string(500, '9') + "\r\n", ""},
      {"X-Retry-After: 120\r\n", ""},
      {"", ""}};
  for (const auto& [header, value] : cases) {
    Receiver receiver([&](Talk& talk) { talk.Answer(429, header); });
    const Answer answer = Send(receiver.Url()).get();
    EXPECT_EQ(answer.status, 429);
    EXPECT_THAT(answer.retry_after, HasSubstr(value));
    EXPECT_EQ(answer.retry_after.empty(), value.empty());
  }
}

TEST_F(SenderTest, SlowOnesDelayNobody) {
  Receiver slow([](Talk& talk) { talk.Drip("HTTP/1.1 200 OK\r\nServer: sleepy\r\n", 1s); });
  Receiver quick([](Talk& talk) { talk.Answer(200); });
  CurlSender sender({.deadline = 1h}, Allowing("127.0.0.1"));
  std::atomic<int> slow_ends{0};
  std::atomic<int> quick_ends{0};
  for (int i = 0; i < 20; ++i) {
    sender.Send({slow.Url(), {}, "{}"}, [&](const Answer&) { ++slow_ends; });
  }
  for (int i = 0; i < 20; ++i) {
    sender.Send({quick.Url(), {}, "{}"}, [&](const Answer&) { ++quick_ends; });
  }
  while (quick_ends < 20) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(slow_ends, 0);
  sender.Abort();
}

TEST_F(SenderTest, NobodyListens) {
  std::uint16_t port = 0;
  {
    port = Receiver([](Talk&) {}).port();
  }
  EXPECT_EQ(Send("http://127.0.0.1:" + std::to_string(port) + "/").get().error,
            "no connection to the host");
  EXPECT_EQ(Send("http://nobody.invalid/").get().error, "the host name does not resolve");
}

TEST_F(SenderTest, DialsNoAddressThatTheGuardRefuses) {
  Receiver inside([](Talk& talk) { talk.Answer(200); }, "127.0.0.2");
  const std::string port = std::to_string(inside.port());
  // Whatever the spelling, and whatever let it pass before.
  for (const std::string host : {"127.0.0.2", "0x7f.2", "2130706434", "[::ffff:127.0.0.2]",
                                 "127.0.0.2.", "0", "[::]", "[::1]"}) {
    const Answer answer = Send("http://" + host + ":" + port + "/").get();
    EXPECT_NE(answer.end, Answer::End::kAnswered) << host;
    EXPECT_THAT(answer.error, Not(HasSubstr("127.0.0"))) << host;
  }
  EXPECT_EQ(Send(inside.Url()).get().end, Answer::End::kRefused);
  EXPECT_EQ(inside.connections(), 0U);
}

// The name was public when the URL was submitted.
TEST_F(SenderTest, ANameThatHasMovedInsideIsNotDialled) {
  Receiver inside([](Talk& talk) { talk.Answer(200); }, "127.0.0.2");
  tests::SetName("public.test", {"127.0.0.2"});
  const Answer refused = Send(inside.Url("/", "public.test")).get();
  EXPECT_EQ(refused.end, Answer::End::kRefused);
  EXPECT_EQ(refused.error, "the host resolves to an address that webhooks may not be sent to");

  tests::SetName("mapped.test", {"::ffff:127.0.0.2", "::1", "127.0.0.2"});
  EXPECT_EQ(Send(inside.Url("/", "mapped.test")).get().end, Answer::End::kRefused);
  EXPECT_EQ(inside.connections(), 0U);
}

TEST_F(SenderTest, OfSeveralAddressesOnlyThoseAllowedAreDialled) {
  Receiver outside([](Talk& talk) { talk.Answer(200); }, "127.0.0.1");
  tests::SetName("both.test", {"127.0.0.2", "::1", "127.0.0.1"});
  EXPECT_EQ(Send(outside.Url("/", "both.test")).get().status, 200);
  EXPECT_EQ(outside.posts()[0].headers.at("host"), "both.test:" + std::to_string(outside.port()));
}

TEST_F(SenderTest, AResolverThatHangsCostsOneAttemptItsDeadline) {
  Receiver receiver([](Talk& talk) { talk.Answer(200); });
  tests::HangName("hung.test");
  const auto start = steady_clock::now();
  auto hung = Send("http://hung.test/");
  EXPECT_EQ(Send(receiver.Url()).get().status, 200);
  EXPECT_THAT(hung.get().error, HasSubstr("no answer within"));
  EXPECT_GE(steady_clock::now() - start, kDeadline - 10ms);  // curl counts milliseconds
  // The loop is not waiting for that thread, nor does the end.
  EXPECT_EQ(Send(receiver.Url()).get().status, 200);
  EXPECT_EQ(SendBy({.deadline = 100ms}, "", "http://hung.test/").end, Answer::End::kFailed);
  EXPECT_EQ(hung.valid(), false);
  tests::LetNamesGo();
}

TEST_F(SenderTest, AbortEndsEverythingAtOnce) {
  Receiver silent([](Talk& talk) { talk.WaitForClose(); });
  tests::HangName("hung.test");
  CurlSender sender({.deadline = 1h}, Allowing("127.0.0.1"));
  std::atomic<int> aborted{0};
  const auto count = [&](const Answer& answer) {
    aborted += answer.end == Answer::End::kAborted ? 1 : 0;
  };
  for (int i = 0; i < 3; ++i) sender.Send({silent.Url(), {}, "{}"}, count);
  sender.Send({"http://hung.test/", {}, "{}"}, count);
  while (silent.posts().size() < 3) std::this_thread::sleep_for(1ms);
  sender.Abort();
  while (aborted < 4) std::this_thread::sleep_for(1ms);
  sender.Send({silent.Url(), {}, "{}"}, count);
  EXPECT_EQ(aborted, 5);
  tests::LetNamesGo();
}

TEST_F(SenderTest, EndsWhatIsInFlightWhenItGoes) {
  Receiver silent([](Talk& talk) { talk.WaitForClose(); });
  std::promise<Answer> answer;
  {
    CurlSender sender({.deadline = 1h}, Allowing("127.0.0.1"));
    sender.Send({silent.Url(), {}, "{}"}, [&](Answer came) { answer.set_value(std::move(came)); });
  }
  EXPECT_EQ(answer.get_future().get().end, Answer::End::kAborted);
}

TEST_F(SenderTest, TrustsOnlyWhomItIsToldTo) {
  const tests::TlsIdentity identity("receiver.test");
  Receiver receiver([](Talk& talk) { talk.Answer(200); }, "127.0.0.1", &identity);
  tests::SetName("receiver.test", {"127.0.0.1"});
  tests::SetName("other.test", {"127.0.0.1"});
  const std::string file =
      (std::filesystem::temp_directory_path() / ("forkbox-ca-" + std::to_string(::getpid())))
          .string();
  identity.WriteCertificate(file);

  const std::string url = receiver.Url("/", "receiver.test");
  EXPECT_EQ(SendBy({.deadline = 20s, .ca_file = file}, "127.0.0.1", url).status, 200);
  EXPECT_EQ(SendBy({.deadline = 20s}, "127.0.0.1", url).error,
            "the TLS certificate is not to be trusted");
  EXPECT_EQ(SendBy({.deadline = 20s, .ca_file = file}, "127.0.0.1", receiver.Url("/", "other.test"))
                .error,
            "the TLS certificate is not to be trusted");
  EXPECT_EQ(receiver.posts().size(), 1U);

  Receiver plain([](Talk& talk) { talk.Answer(200); });
  const Answer answer = SendBy({.deadline = kDeadline}, "127.0.0.1",
                               "https://127.0.0.1:" + std::to_string(plain.port()));
  EXPECT_EQ(answer.end, Answer::End::kFailed);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace forkbox::webhook
