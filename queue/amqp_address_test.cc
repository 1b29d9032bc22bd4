#include "queue/amqp_address.h"

#include <gtest/gtest.h>

#include <string>

#include "queue/open_broker.h"

namespace forkbox::queue {
namespace {

TEST(AmqpAddressTest, UrlsAreReadInFull) {
  const struct {
    std::string url, host, user, password, vhost;
    int port;
  } cases[] = {
      {"amqp://u:p@mq.example:5673/v", "mq.example", "u", "p", "v", 5673},
      {"amqp://u%40x:p%2F%3A@h/a%2fb", "h", "u@x", "p/:", "a/b", 5672},
      {"amqp://", "localhost", "guest", "guest", "/", 5672},
      {"amqp://h", "h", "guest", "guest", "/", 5672},
      {"amqp://h/", "h", "guest", "guest", "/", 5672},
      {"amqp://h/%2f", "h", "guest", "guest", "/", 5672},
      {"amqp://[::1]:1/", "::1", "guest", "guest", "/", 1},
  };
  for (const auto& one : cases) {
    const Result<AmqpAddress> address = ParseAmqpAddress(one.url);
    ASSERT_TRUE(address.has_value()) << one.url;
    EXPECT_EQ(address->host, one.host) << one.url;
    EXPECT_EQ(address->port, one.port) << one.url;
    EXPECT_EQ(address->user, one.user) << one.url;
    EXPECT_EQ(address->password, one.password) << one.url;
    EXPECT_EQ(address->vhost, one.vhost) << one.url;
    EXPECT_EQ(address->ToString().find(one.password + "@"), std::string::npos);
  }
}

TEST(AmqpAddressTest, WhatIsRefusedIsNotRepeated) {
  const std::string urls[] = {"",
                              "amqp:/secret",
                              "http://u:secret@h/",
                              "amqps://u:secret@h/",
                              "amqp://u:secret@h:99999999/",
                              "amqp://u:secret@h:x/",
                              "amqp://u:secret%zz@h/",
                              "amqp://u:secret@h/a/b",
                              std::string("amqp://u:secret@h/\0x", 20)};
  for (const std::string& url : urls) {
    const Result<AmqpAddress> address = ParseAmqpAddress(url);
    ASSERT_FALSE(address.has_value()) << url;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalidArgument) << url;
    EXPECT_EQ(address.error().message.find("secret"), std::string::npos) << url;

    const auto broker = OpenBroker(url, {}, Log::Null());
    ASSERT_FALSE(broker.has_value()) << url;
    EXPECT_EQ(broker.error().message.find("secret"), std::string::npos) << url;
  }
}

TEST(OpenBrokerTest, TheEmbeddedOneNeedsNoServer) {
  const auto broker = OpenBroker("embedded:", {.max_waiting_interactive = 7}, Log::Null());
  ASSERT_TRUE(broker.has_value());
  EXPECT_EQ((*broker)->GetDepth(schema::Priority::kInteractive)->limit, 7U);
}

}  // namespace
}  // namespace forkbox::queue
