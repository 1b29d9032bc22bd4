#include "webhook/address_guard.h"

#include <gtest/gtest.h>

namespace forkbox::webhook {
namespace {

bool Allows(const AddressGuard& guard, const char* text) {
  const auto address = IpAddress::Parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address && guard.Allows(*address);
}

TEST(AddressGuardTest, LetsThePublicInternetThrough) {
  const AddressGuard guard;
  for (const char* const address : {"1.1.1.1",
                                    "8.8.8.8",
                                    "9.255.255.255",
                                    "11.0.0.0",
                                    "100.63.255.255",
                                    "100.128.0.0",
                                    "126.255.255.255",
                                    "128.0.0.0",
                                    "168.63.129.15",
                                    "168.63.129.17",
                                    "169.253.255.255",
                                    "169.255.0.0",
                                    "172.15.255.255",
                                    "172.32.0.0",
                                    "191.255.255.255",
                                    "192.0.1.0",
                                    "192.167.255.255",
                                    "192.169.0.0",
                                    "198.17.255.255",
                                    "198.20.0.0",
                                    "203.0.112.255",
                                    "203.0.114.0",
                                    "223.255.255.255",
                                    "2606:4700:4700::1111",
                                    "2a00:1450:4001:80e::200e",
                                    "2001:4860:4860::8888",
                                    "2400:cb00::1",
                                    "3ffe::1"}) {
    EXPECT_TRUE(Allows(guard, address)) << address;
  }
  EXPECT_FALSE(guard.AllowsLoopback());
  EXPECT_FALSE(guard.HasExceptions());
}

TEST(AddressGuardTest, RefusesEverythingElse) {
  const AddressGuard guard;
  for (const char* const address : {
           "0.0.0.0",
           "0.255.255.255",  // this network
           "10.0.0.0",
           "10.255.255.255",  // private
           "100.64.0.0",
           "100.127.255.255",  // shared
           "100.100.100.200",  // metadata of Alibaba Cloud
           "127.0.0.1",
           "127.255.255.255",  // loopback
           "168.63.129.16",    // Azure's platform
           "169.254.0.0",
           "169.254.169.254",  // link-local, metadata
           "169.254.170.2",
           "169.254.255.255",  // of containers
           "172.16.0.0",
           "172.31.255.255",  // private
           "192.0.0.0",
           "192.0.0.192",  // assignments, metadata of Oracle Cloud
           "192.0.2.1",    // documentation
           "192.88.99.1",  // 6to4 relay
           "192.168.0.0",
           "192.168.255.255",  // private
           "198.18.0.0",
           "198.19.255.255",  // benchmarking
           "198.51.100.1",
           "203.0.113.1",  // documentation
           "224.0.0.1",
           "239.255.255.255",  // multicast
           "240.0.0.0",
           "255.255.255.255",  // reserved, broadcast
           "::",
           "::1",  // unspecified, loopback
           "::8.8.8.8",
           "::127.0.0.1",  // compatible
           "::ffff:8.8.8.8",
           "::ffff:10.0.0.1",   // mapped
           "::ffff:0:8.8.8.8",  // translated
           "64:ff9b::8.8.8.8",
           "64:ff9b::7f00:1",  // NAT64
           "64:ff9b:1::8.8.8.8",
           "64:ff9b:1:ffff::a00:1",  // local NAT64
           "100::1",                 // discard
           "2001::1",
           "2001:0:7f00:1::",  // Teredo
           "2001:2::1",
           "2001:10::1",
           "2001:20::1",  // benchmarking, ORCHID
           "2001:db8::1",
           "3fff::1",  // documentation
           "2002:7f00:1::",
           "2002:808:808::1",  // 6to4
           "5f00::1",
           "4000::1",
           "8000::1",
           "e000::1",  // reserved
           "fc00::1",
           "fd00:ec2::254",
           "fdff:ffff::",  // unique local, metadata
           "fe80::1",
           "febf::1",
           "fec0::1",
           "feff::1",  // link-local, site-local
           "ff02::1",
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
       }) {
    EXPECT_FALSE(Allows(guard, address)) << address;
  }
}

TEST(AddressGuardTest, MakesTheExceptionsItIsTold) {
  const auto guard = AddressGuard::Parse("127.0.0.0/8, 10.1.0.0/16 ,fd00::7");
  ASSERT_TRUE(guard.has_value()) << guard.error().message;
  EXPECT_TRUE(guard->HasExceptions());
  EXPECT_TRUE(guard->AllowsLoopback());
  EXPECT_TRUE(Allows(*guard, "127.9.9.9"));
  EXPECT_TRUE(Allows(*guard, "10.1.2.3"));
  EXPECT_TRUE(Allows(*guard, "fd00::7"));
  EXPECT_TRUE(Allows(*guard, "1.1.1.1"));
  EXPECT_FALSE(Allows(*guard, "10.2.0.0"));
  EXPECT_FALSE(Allows(*guard, "fd00::8"));
  // The same address in a disguise is another one.
  EXPECT_FALSE(Allows(*guard, "::ffff:127.0.0.1"));
  EXPECT_FALSE(Allows(*guard, "64:ff9b::7f00:1"));

  EXPECT_TRUE(AddressGuard::Parse("::1")->AllowsLoopback());
  EXPECT_FALSE(AddressGuard::Parse("10.0.0.0/8")->AllowsLoopback());
  for (const char* const none : {"", " ", "   "}) {
    EXPECT_FALSE(AddressGuard::Parse(none)->HasExceptions());
  }
}

TEST(AddressGuardTest, NamesTheEntryThatItCannotRead) {
  const std::pair<const char*, const char*> cases[] = {
      {"10.0.0.0/8,banana", "'banana'"},
      {"10.0.0.0/8,", "''"},
      {",10.0.0.0/8", "''"},
      {"10.0.0.0/8,,fd00::/8", "''"},
      {"10.0.0.0/8;fd00::/8", "'10.0.0.0/8;fd00::/8'"},
      {"10.0.0.0/40", "'10.0.0.0/40'"},
      {"localhost", "'localhost'"},
      {"10.0.0.9/8", "'10.0.0.9/8'"}};
  for (const auto& [text, name] : cases) {
    const auto guard = AddressGuard::Parse(text);
    ASSERT_FALSE(guard.has_value()) << text;
    EXPECT_EQ(guard.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(guard.error().message.find(name), 0U) << guard.error().message;
  }
}

}  // namespace
}  // namespace forkbox::webhook
