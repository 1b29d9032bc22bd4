#include "webhook/ip_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace forkbox::webhook {
namespace {

TEST(IpNetworkTest, ContainsWhatItsPrefixSays) {
  struct Case {
    const char* network;
    const char* address;
    bool inside;
  };
  const Case cases[] = {
      {"10.0.0.0/8", "10.255.255.255", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"100.64.0.0/10", "100.127.255.255", true},
      {"100.64.0.0/10", "100.128.0.0", false},
      {"192.0.2.7", "192.0.2.7", true},
      {"192.0.2.7", "192.0.2.6", false},
      {"0.0.0.0/0", "255.255.255.255", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "1.2.3.4", false},
      {"fe80::/10", "febf:ffff::1", true},
      {"fe80::/10", "fec0::1", false},
      {"::ffff:0:0/96", "::ffff:127.0.0.1", true},
      {"127.0.0.0/8", "::ffff:127.0.0.1", false},
      {"2001:db8::/33", "2001:db8:7fff::", true},
      {"2001:db8::/33", "2001:db8:8000::", false},
      {"::1/128", "::1", true},
  };
  for (const Case& one : cases) {
    const auto network = IpNetwork::Parse(one.network);
    const auto address = IpAddress::Parse(one.address);
    ASSERT_TRUE(network.has_value()) << one.network;
    ASSERT_TRUE(address.has_value()) << one.address;
    EXPECT_EQ(network->Contains(*address), one.inside) << one.network << " " << one.address;
  }
}

TEST(IpNetworkTest, RefusesWhatIsNoNetwork) {
  for (const std::string text : {"",
                                 "/",
                                 "/8",
                                 "10.0.0.0/",
                                 "10.0.0.0/33",
                                 "10.0.0.0/-1",
                                 "10.0.0.0/+8",
                                 "10.0.0.0/ 8",
                                 "10.0.0.0/8x",
                                 "10.0.0.0/8/8",
                                 "::/129",
                                 "10.0.0.1/8",
                                 "::1/64",
                                 "10.0.0/8",
                                 "10",
                                 "0x7f.1",
                                 "010.0.0.1",
                                 "[::1]",
                                 "fe80::1%lo",
                                 "localhost",
                                 " 10.0.0.1",
                                 "10.0.0.0/99999999999999"}) {
    const auto network = IpNetwork::Parse(text);
    ASSERT_FALSE(network.has_value()) << text;
    EXPECT_EQ(network.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(network.error().message.find("'" + text + "'"), 0U) << network.error().message;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("10.0.0.1\0", 9)).has_value());
}

TEST(IpAddressTest, ComesFromSockets) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, "fd00::1", &in6.sin6_addr);
  const auto* address = reinterpret_cast<const sockaddr*>(&in6);
  const auto read = IpAddress::FromSocket(address, sizeof(in6));
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(IpNetwork::Parse("fd00::1")->Contains(*read));
  EXPECT_FALSE(IpAddress::FromSocket(address, sizeof(sockaddr_in)).has_value());

  sockaddr_in in{};
  in.sin_family = AF_INET;
  ::inet_pton(AF_INET, "192.0.2.1", &in.sin_addr);
  EXPECT_TRUE(
      IpNetwork::Parse("192.0.2.1")
          ->Contains(*IpAddress::FromSocket(reinterpret_cast<const sockaddr*>(&in), sizeof(in))));

  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  EXPECT_FALSE(
      IpAddress::FromSocket(reinterpret_cast<const sockaddr*>(&local), sizeof(local)).has_value());
}

}  // namespace
}  // namespace forkbox::webhook
