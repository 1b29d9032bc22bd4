#include "runner/sandbox/artefact_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace forkbox::sandbox {
namespace {

using schema::Reason;

Compiled Made(Reason reason, std::size_t bytes = 0) {
  Compiled compiled;
  compiled.reason = reason;
  compiled.program.files.push_back({"/tmp/main", std::string(bytes, 'x'), true});
  return compiled;
}

// Asks for a key and says whether its compile had to be made.
bool Makes(ArtefactCache& cache, const std::string& key, const Compiled& compiled) {
  bool made = false;
  bool hit = false;
  const auto got = cache.Get(
      key, {},
      [&] {
        made = true;
        return compiled;
      },
      &hit);
  EXPECT_NE(got, nullptr);
  EXPECT_EQ(hit, !made);
  return made;
}

TEST(ArtefactCacheTest, KeepsWhatTheSourceAloneDecides) {
  ArtefactCache cache(1 << 20);
  for (const Reason reason : {Reason::kExited, Reason::kCompileFailed}) {
    const std::string key(schema::ToString(reason));
    EXPECT_TRUE(Makes(cache, key, Made(reason)));
    EXPECT_FALSE(Makes(cache, key, Made(reason)));
  }
  for (const Reason reason : {Reason::kWallTimeout, Reason::kCpuTimeout, Reason::kOutOfMemory,
                              Reason::kCancelled, Reason::kSandboxFailed}) {
    const std::string key(schema::ToString(reason));
    EXPECT_TRUE(Makes(cache, key, Made(reason)));
    EXPECT_TRUE(Makes(cache, key, Made(reason)));
  }
  EXPECT_EQ(cache.Stats().entries, 2U);
}

TEST(ArtefactCacheTest, TheLeastRecentlyUsedGoFirst) {
  ArtefactCache cache(100'000);
  const Compiled made = Made(Reason::kExited, 4'000);  // of which a good twenty fit
  for (int i = 0; i < 20; ++i) Makes(cache, std::to_string(i), made);
  EXPECT_EQ(cache.Stats().entries, 20U);
  EXPECT_FALSE(Makes(cache, "0", made));
  for (int i = 20; i < 30; ++i) EXPECT_TRUE(Makes(cache, std::to_string(i), made));
  EXPECT_FALSE(Makes(cache, "0", made));
  EXPECT_TRUE(Makes(cache, "1", made));
  EXPECT_LE(cache.Stats().bytes, 100'000U);
}

TEST(ArtefactCacheTest, WhatWouldDriveOutTooMuchIsNotKept) {
  ArtefactCache cache(100'000);
  EXPECT_TRUE(Makes(cache, "large", Made(Reason::kExited, 7'000)));
  EXPECT_TRUE(Makes(cache, "large", Made(Reason::kExited, 7'000)));
  ArtefactCache none(0);
  EXPECT_TRUE(Makes(none, "small", Made(Reason::kExited)));
  EXPECT_TRUE(Makes(none, "small", Made(Reason::kExited)));
  EXPECT_EQ(none.Stats().bytes, 0U);
}

TEST(ArtefactCacheTest, ManyWhoAskAtOnceShareOneCompile) {
  for (const Reason reason : {Reason::kExited, Reason::kWallTimeout, Reason::kSandboxFailed}) {
    ArtefactCache cache(1 << 20);
    std::atomic<int> asked{0};
    std::atomic<int> made{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        ++asked;
        bool hit = false;
        const auto got = cache.Get(
            "key", {},
            [&] {
              ++made;
              while (asked < 8) std::this_thread::yield();
              std::this_thread::sleep_for(std::chrono::milliseconds(50));
              return Made(reason);
            },
            &hit);
        EXPECT_EQ(got->reason, reason);
      });
    }
    threads.clear();
    EXPECT_EQ(made, 1);
  }
}

TEST(ArtefactCacheTest, WhoWaitsForOneThatComesToNothingMakesItsOwn) {
  ArtefactCache cache(1 << 20);
  std::atomic<bool> started{false};
  std::atomic<bool> go{false};
  std::jthread first([&] {
    bool hit = false;
    const auto got = cache.Get(
        "key", {},
        [&] {
          started = true;
          while (!go) std::this_thread::yield();
          return Made(Reason::kCancelled);
        },
        &hit);
    EXPECT_EQ(got->reason, Reason::kCancelled);
  });
  while (!started) std::this_thread::yield();
  std::stop_source impatient;
  std::jthread third([&] {
    bool hit = false;
    EXPECT_EQ(cache.Get(
                  "key", impatient.get_token(), [] { return Made(Reason::kExited); }, &hit),
              nullptr);
  });
  impatient.request_stop();
  third.join();
  std::jthread second([&] { EXPECT_TRUE(Makes(cache, "key", Made(Reason::kExited))); });
  go = true;
}

TEST(ArtefactKeyTest, EverythingThatACompileSeesMakesAnotherKey) {
  std::set<std::string> keys;
  const auto add = [&](const std::string& toolchain, const schema::Source& source) {
    const std::string key = ArtefactKey(toolchain, source);
    EXPECT_EQ(key.size(), 32U);
    return keys.insert(key).second;
  };
  schema::Source source;
  source.code = "ab";
  EXPECT_TRUE(add("go", source));
  EXPECT_FALSE(add("go", source));
  EXPECT_TRUE(add("go2", source));
  source.code = "b";
  EXPECT_TRUE(add("goa", source));  // the same bytes, cut elsewhere
  source.files = {{"a", "b", false}};
  EXPECT_TRUE(add("go", source));
  source.files = {{"ab", "", false}};
  EXPECT_TRUE(add("go", source));
  source.files = {{"a", "b", true}};
  EXPECT_TRUE(add("go", source));
  source.files = {{"a", "", false}, {"b", "", false}};
  EXPECT_TRUE(add("go", source));
  source.entry = schema::EntryKind::kFunction;
  EXPECT_TRUE(add("go", source));
  source.stdin_data = "other input";
  source.args = {"other"};
  source.env = {{"A", "B"}};
  EXPECT_FALSE(add("go", source));
}

}  // namespace
}  // namespace forkbox::sandbox
