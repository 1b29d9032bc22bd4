#include "cli/listen_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/unique_fd.h"

namespace forkbox::cli {
namespace {

struct Case {
  const char* name;
  const char* text;
  const char* host;  // null: refused
  int port;
  const char* url_host;
};
class ListenAddressTest : public ::testing::TestWithParam<Case> {};
TEST_P(ListenAddressTest, Parses) {
  const auto address = ListenAddress::Parse(GetParam().text);
  ASSERT_EQ(address.has_value(), GetParam().host != nullptr);
  if (!address) return;
  EXPECT_EQ(address->host, GetParam().host);
  EXPECT_EQ(address->port, GetParam().port);
  EXPECT_EQ(address->UrlHost(), GetParam().url_host);
}
INSTANTIATE_TEST_SUITE_P(
    Texts, ListenAddressTest,
    ::testing::Values(Case{"v4", "127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1"},
                      Case{"any_port", "10.1.2.3:0", "10.1.2.3", 0, "10.1.2.3"},
                      Case{"name", "localhost:80", "127.0.0.1", 80, "127.0.0.1"},
                      Case{"v6", "[::1]:65535", "::1", 65535, "[::1]"},
                      Case{"wildcard", "0.0.0.0:1", "0.0.0.0", 1, "127.0.0.1"},
                      Case{"wildcard6", "[::]:1", "::", 1, "[::1]"},
                      Case{"empty", "", nullptr, 0, ""}, Case{"port_only", "8080", nullptr, 0, ""},
                      Case{"no_host", ":8080", nullptr, 0, ""},
                      Case{"no_port", "127.0.0.1:", nullptr, 0, ""},
                      Case{"too_large", "127.0.0.1:65536", nullptr, 0, ""},
                      Case{"negative", "127.0.0.1:-1", nullptr, 0, ""},
                      Case{"tail", "127.0.0.1:80x", nullptr, 0, ""},
                      Case{"bare_v6", "::1:8080", nullptr, 0, ""},
                      Case{"v4_in_brackets", "[127.0.0.1]:80", nullptr, 0, ""},
                      Case{"host_name", "example.com:80", nullptr, 0, ""}),
    [](const auto& one) { return one.param.name; });

TEST(CheckCanListen, SaysWhenThePortIsTaken) {
  const UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  socklen_t size = sizeof where;
  ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
  const auto refused = CheckCanListen({"127.0.0.1", ntohs(where.sin_port)});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("in use"), std::string::npos);
  EXPECT_TRUE(CheckCanListen({"127.0.0.1", 0}));
}

}  // namespace
}  // namespace forkbox::cli
