#include "runner/sandbox/artefacts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runner/sandbox/artefact_bounds.h"
#include "runner/sandbox/template/job_wire.h"

namespace forkbox::sandbox {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kPaths = {"/tmp/main", "/tmp/more/"};

std::string Answer(const std::vector<JobFile>& files) { return "a" + EncodeFiles(files); }

TEST(ArtefactsTest, GivesTheFilesThatWereAskedFor) {
  const auto read = ReadArtefacts(
      Answer({{"/tmp/main", "ELF", true}, {"/tmp/more/a/b..c", "", false}}), false, kPaths);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ(read->at(0).path, "/tmp/main");
  EXPECT_EQ(read->at(0).content, "ELF");
  EXPECT_TRUE(read->at(0).executable);
  EXPECT_FALSE(read->at(1).executable);
}

TEST(ArtefactsTest, BelievesNothing) {
  const std::string good = Answer({{"/tmp/main", "ELF", true}});
  struct Case {
    std::string answer;
    const char* complaint;
    bool cut = false;
  };
  const Case cases[] = {
      {"", "no answer"},
      {good, "too much", true},
      {"v1", "malformed"},
      {"a", "malformed"},
      {good + "x", "malformed"},
      {good.substr(0, good.size() - 1), "malformed"},
      {std::string("a\xff\xff\xff\xff", 5), "malformed"},
      {Answer({}), "no files"},
      {"nwhy \xff not", "why \xef\xbf\xbd not"},
      {Answer({{"/etc/passwd", "", false}}), "in the wrong place"},
      {Answer({{"main", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/main/", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more/", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more/../main2", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more/a/..", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more//a", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more/a/", "", false}}), "in the wrong place"},
      {Answer({{std::string_view("/tmp/more/a\0b", 13), "", false}}), "in the wrong place"},
      {Answer({{"/tmp/more/" + std::string(2000, 'a'), "", false}}), "in the wrong place"},
      {Answer({{"/tmp/main", "", false}, {"/tmp/main", "", false}}), "in the wrong place"},
      {Answer({{"/tmp/main", std::string(kMaxArtefactBytes + 1, 'x'), false}}), "too large"},
      {Answer(std::vector<JobFile>(kMaxArtefactFiles + 1, {"/tmp/main", "", false})),
       "too many files"},
      // As many as the answer has room for: refused by their count.
      {"a" + std::string("\xff\xff\x07\x00", 4) + std::string(12U * 0x7ffff, '\0'),
       "too many files"},
  };
  for (const Case& test : cases) {
    const auto read = ReadArtefacts(test.answer, test.cut, kPaths);
    ASSERT_FALSE(read) << test.complaint;
    EXPECT_THAT(read.error().message, HasSubstr(test.complaint));
  }
}

TEST(ArtefactsTest, WhatGoesIntoASandboxIsBounded) {
  schema::Source program;
  program.code = "code";
  program.files = {{"a", std::string(kMaxProgramBytes / 2, 'x'), false}};
  EXPECT_TRUE(FitsIntoSandbox(program));
  program.files.push_back({"b", std::string(kMaxProgramBytes / 2, 'x'), true});
  EXPECT_FALSE(FitsIntoSandbox(program));
}

TEST(ArtefactsTest, RandomAndDamagedAnswersAreRefusedOrHarmless) {
  std::mt19937 random(1);
  const std::string good = Answer({{"/tmp/main", "ELF", true}, {"/tmp/more/a", "b", false}});
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    for (int flips = static_cast<int>(random() % 4) + 1; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto read = ReadArtefacts(bytes, false, kPaths);
    if (!read) continue;
    for (const schema::SourceFile& file : *read) {
      EXPECT_TRUE(file.path == "/tmp/main" || file.path.rfind("/tmp/more/", 0) == 0) << file.path;
    }
  }
}

}  // namespace
}  // namespace forkbox::sandbox
