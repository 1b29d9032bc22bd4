#include "api/http/router.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::http {
namespace {

class RouterTest : public testing::Test {
 protected:
  void SetUp() override {
    const Handler nothing = [](Call&) {};
    router_.Add(Method::kGet, "/", nothing);
    router_.Add(Method::kGet, "/things", nothing);
    router_.Add(Method::kPost, "/things", nothing);
    router_.Add(Method::kGet, "/things/:id", nothing);
    router_.Add(Method::kDelete, "/things/:id", nothing);
    router_.Add(Method::kGet, "/things/special", nothing);
    router_.Add(Method::kGet, "/things/:id/parts/:part", nothing);
    router_.Add(Method::kGet, "/files/*", nothing);
  }
  std::string RouteOf(Method method, const std::string& path) {
    const Router::Match match = router_.Find(method, path);
    switch (match.outcome) {
      case Router::Outcome::kFound: {
        std::string text = match.route->path;
        for (const auto& [name, value] : match.params) text += " " + name + "=" + value;
        return text;
      }
      case Router::Outcome::kNotFound:
        return "404";
      case Router::Outcome::kMethodNotAllowed:
        return "405 " + match.allow;
      case Router::Outcome::kBadEscape:
        return "400";
    }
    return "?";
  }
  Router router_;
};

TEST_F(RouterTest, FindsTheMostFixedRoute) {
  EXPECT_EQ(RouteOf(Method::kGet, "/"), "/");
  EXPECT_EQ(RouteOf(Method::kGet, "/things"), "/things");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/"), "/things");
  EXPECT_EQ(RouteOf(Method::kGet, "//things///7"), "/things/:id :id=7");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/special"), "/things/special");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/a%2Fb"), "/things/:id :id=a/b");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/special/parts/9"),
            "/things/:id/parts/:part :id=special :part=9");
  EXPECT_EQ(RouteOf(Method::kGet, "/files/a"), "/files/*");
}

TEST_F(RouterTest, TellsWhatElseIsThere) {
  EXPECT_EQ(RouteOf(Method::kGet, "/nothing"), "404");
  EXPECT_EQ(RouteOf(Method::kGet, "/files/a/b"), "404");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/7/parts"), "404");
  EXPECT_EQ(RouteOf(Method::kPut, "/things"), "405 GET, HEAD, POST");
  EXPECT_EQ(RouteOf(Method::kPost, "/things/7"), "405 GET, HEAD, DELETE");
  EXPECT_EQ(RouteOf(Method::kGet, "/things/%zz"), "400");
}

TEST_F(RouterTest, HeadFallsBackToGet) {
  EXPECT_EQ(RouteOf(Method::kHead, "/things/7"), "/things/:id :id=7");
  EXPECT_EQ(RouteOf(Method::kHead, "/nothing"), "404");
}

// Pistache's own normalisation recurses for each character: 16,000 slashes overflow the stack.
TEST_F(RouterTest, SurvivesSlashes) {
  EXPECT_EQ(RouteOf(Method::kGet, std::string(1'000'000, '/') + "things"), "/things");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "/a";
  EXPECT_EQ(RouteOf(Method::kGet, deep), "404");
}

}  // namespace
}  // namespace forkbox::http
