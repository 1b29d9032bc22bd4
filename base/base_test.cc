#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/rfc3339.h"
#include "base/unique_fd.h"
#include "base/uuid.h"

namespace forkbox {
namespace {

TEST(UuidTest, IsVersion7AndSortsByCreation) {
  std::string last;
  for (int i = 0; i < 10000; ++i) {
    const std::string id = NewUuidV7();
    ASSERT_TRUE(IsUuid(id)) << id;
    ASSERT_EQ(id[14], '7') << id;
    ASSERT_NE(std::string("89ab").find(id[19]), std::string::npos) << id;
    ASSERT_LT(last, id);
    last = id;
  }
}

TEST(UuidTest, ThreadsNeverShareOne) {
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&mine] {
      for (int i = 0; i < 5000; ++i) mine.push_back(NewUuidV7());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& mine : made) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 20000U);
}

TEST(UuidTest, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", "019cf684-1fd5-73c0-9299-52253f9aa79", "019cf684x1fd5-73c0-9299-52253f9aa79c",
        "019cf684-1fd5-73c0-9299-52253f9aa79g", "../../../../../../../../../etc/passw"}) {
    EXPECT_FALSE(IsUuid(text)) << text;
  }
}

std::string Logged(const std::function<void(const Log&)>& write, LogLevel level = LogLevel::kInfo) {
  int ends[2];
  if (::pipe(ends) != 0) return "pipe failed";
  UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  write(Log(out.get(), level));
  out.Reset();
  std::string text(4096, '\0');
  const ssize_t n = ::read(in.get(), text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

TEST(LogTest, WritesOneJsonObjectALine) {
  const std::string line = Logged([](const Log& log) {
    log.With({{"request_id", "r-1"}}).Info("execution.finished", {{"exit_code", -1}, {"ok", true}});
  });
  EXPECT_NE(
      line.find(
          R"("level":"info","event":"execution.finished","request_id":"r-1","exit_code":-1,"ok":true})"),
      std::string::npos)
      << line;
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.rfind(R"({"ts":"20)", 0), 0U);
}

TEST(LogTest, HostileTextStaysOneLineOfValidJson) {
  const std::string line = Logged([](const Log& log) {
    log.Info("x.y", {{"v", std::string("a\"b\\c\nd\x01\xff\xc0\x80\xed\xa0\x80\xf0\x9f\x98\x80")}});
  });
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_NE(line.find(R"("a\"b\\c\u000ad\u0001)"), std::string::npos) << line;
  EXPECT_EQ(line.find('\xff'), std::string::npos);
  EXPECT_NE(line.find("\xf0\x9f\x98\x80"), std::string::npos);
}

TEST(LogTest, PatternCharactersInFieldsAreNotExpanded) {
  const std::string line = Logged([](const Log& log) { log.Info("x.y", {{"v", "%v{}%n"}}); });
  EXPECT_NE(line.find("%v{}%n"), std::string::npos) << line;
}

TEST(LogTest, LinesBelowTheLevelAreNotWritten) {
  EXPECT_EQ(Logged([](const Log& log) { log.Info("x.y"); }, LogLevel::kError), "");
  Log::Null().Error("goes.nowhere");
}

TEST(Rfc3339Test, IsReadAsStrictlyAsItIsWritten) {
  EXPECT_EQ(ParseRfc3339("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(ParseRfc3339("2023-11-14T22:13:20.007Z"), 1'700'000'000'007);
  EXPECT_EQ(ParseRfc3339("2023-11-14T22:13:20.0079999Z"), 1'700'000'000'007);
  EXPECT_EQ(ParseRfc3339("2023-11-15T00:13:20+02:00"), 1'700'000'000'000);
  EXPECT_EQ(ParseRfc3339("2023-11-14t22:13:20.5z"), 1'700'000'000'500);
  EXPECT_EQ(ParseRfc3339("2016-12-31T23:59:60Z"), 1'483'228'799'000);
  for (const char* text :
       {"", "now", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14 22:13:20Z",
        "2023-02-29T00:00:00Z", "2023-13-01T00:00:00Z", "2023-11-14T24:00:00Z",
        "2023-11-14T22:60:00Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20+2:00",
        "2023-11-14T22:13:20Z ", "1969-12-31T23:59:59Z", "23-11-14T22:13:20Z"}) {
    EXPECT_EQ(ParseRfc3339(text), std::nullopt) << text;
  }
}

TEST(Rfc3339Test, IsUtcToTheMillisecond) {
  EXPECT_EQ(Rfc3339Millis(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(Rfc3339Millis(1'700'000'000'007), "2023-11-14T22:13:20.007Z");
  EXPECT_EQ(Rfc3339Millis(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(Rfc3339Seconds(1'700'000'000'999), "2023-11-14T22:13:20Z");
}

}  // namespace
}  // namespace forkbox
