// Many requests of one box at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;

TEST(FaceCrowdTest, RefusesMoreThanSoManyOfOneBoxAndLetsThemBeEnded) {
  FaceServer server;
  std::vector<std::unique_ptr<http::HttpClient>> watchers;
  http::HttpResponse last;
  // As many as run, and at most one more than that.
  for (int i = 0; i < 300 && last.status != 429; ++i) {
    watchers.push_back(std::make_unique<http::HttpClient>(server.port()));
    watchers.back()->Send("GET /metrics/watch HTTP/1.1\r\nHost: test\r\n\r\n");
    if (i >= 255) last = server.Get("/metrics");
  }
  EXPECT_EQ(last.status, 429) << last.body;
  EXPECT_THAT(last.body, HasSubstr("too many requests run in this sandbox at once"));
  EXPECT_THAT(last.body, HasSubstr("TOO_MANY_REQUESTS"));
  EXPECT_NE(last.Header("Retry-After"), "");
  EXPECT_EQ(server.Get("/ping").status, 200);
  // What ends something still gets in.
  EXPECT_EQ(server.Delete("/command?id=none").status, 404);
  watchers.clear();
  EXPECT_TRUE(http::Eventually([&] { return server.Get("/metrics").status == 200; }));
  // Refusals have given nothing back that they did not have.
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Stderr();
}

}  // namespace
}  // namespace forkbox::tests
