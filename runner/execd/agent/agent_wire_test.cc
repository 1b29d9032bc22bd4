#include "runner/execd/agent/agent_wire.h"

#include <gtest/gtest.h>

#include <random>

namespace forkbox::execd {
namespace {

FileInfo SomeInfo() {
  FileInfo info;
  info.path = "/box/work/a\nb";
  info.type = FileInfo::Type::kSymlink;
  info.size = 1ULL << 40;
  info.modified_unix_ns = -1;
  info.created_unix_ns = 1'700'000'000'123'456'789;
  info.owner = "sandbox";
  info.group = "4711";
  info.mode = 0751;
  return info;
}

TEST(AgentWire, RequestsArriveAsTheyWere) {
  AgentRequest request;
  request.operation = Operation::kReplace;
  request.path = "/p";
  request.other = std::string_view("o\0x", 3);
  request.new_text = "n";
  request.owner = "own";
  request.group = "grp";
  request.mode = 0644;
  request.number = 8080;
  request.pid = -7;
  request.whole_group = true;
  const std::string body = EncodeRequest(request);
  AgentRequest got;
  ASSERT_TRUE(DecodeRequest(body, &got));
  EXPECT_EQ(got.operation, request.operation);
  EXPECT_EQ(got.path, request.path);
  EXPECT_EQ(got.other, request.other);
  EXPECT_EQ(got.new_text, request.new_text);
  EXPECT_EQ(got.owner, request.owner);
  EXPECT_EQ(got.group, request.group);
  EXPECT_EQ(got.mode, request.mode);
  EXPECT_EQ(got.number, request.number);
  EXPECT_EQ(got.pid, request.pid);
  EXPECT_EQ(got.whole_group, request.whole_group);
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(DecodeRequest(std::string_view(body).substr(0, size), &got)) << size;
  }
  EXPECT_FALSE(DecodeRequest(body + "x", &got));
  for (const char operation : {'\0', '\x0f', '\xff'}) {
    std::string other = body;
    other[0] = operation;
    EXPECT_FALSE(DecodeRequest(other, &got));
  }
}

TEST(AgentWire, EntriesArriveAsTheyWere) {
  std::string body;
  AppendEntry(SomeInfo(), &body);
  FileInfo second = SomeInfo();
  second.path = "/";
  AppendEntry(second, &body);
  std::vector<FileInfo> entries;
  ASSERT_TRUE(DecodeEntries(body, 2, &entries));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].path, SomeInfo().path);
  EXPECT_EQ(entries[0].type, SomeInfo().type);
  EXPECT_EQ(entries[0].size, SomeInfo().size);
  EXPECT_EQ(entries[0].modified_unix_ns, -1);
  EXPECT_EQ(entries[0].created_unix_ns, SomeInfo().created_unix_ns);
  EXPECT_EQ(entries[0].owner, "sandbox");
  EXPECT_EQ(entries[0].group, "4711");
  EXPECT_EQ(entries[0].mode, 0751U);
  EXPECT_EQ(entries[1].path, "/");
}

TEST(AgentWire, EntriesThatCannotBe) {
  const auto refused = [](const auto& change) {
    FileInfo info = SomeInfo();
    change(&info);
    std::string body;
    AppendEntry(info, &body);
    std::vector<FileInfo> entries;
    return !DecodeEntries(body, 10, &entries);
  };
  EXPECT_FALSE(refused([](FileInfo*) {}));
  EXPECT_TRUE(refused([](FileInfo* info) { info->path = ""; }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->path = "relative"; }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->path = "/" + std::string(80'000, 'x'); }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->owner = std::string(257, 'x'); }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->group = std::string(257, 'x'); }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->mode = 01777; }));
  EXPECT_TRUE(refused([](FileInfo* info) { info->type = static_cast<FileInfo::Type>(4); }));
  std::string body;
  for (int i = 0; i < 3; ++i) AppendEntry(SomeInfo(), &body);
  std::vector<FileInfo> entries;
  EXPECT_FALSE(DecodeEntries(body, 2, &entries));
}

TEST(AgentWire, FailuresKeepTheirCodeAndABoundedMessage) {
  for (const ErrorCode code :
       {ErrorCode::kInvalidArgument, ErrorCode::kNotFound, ErrorCode::kConflict,
        ErrorCode::kUnavailable, ErrorCode::kInternal}) {
    Error error;
    ASSERT_TRUE(DecodeFailure(EncodeFailure({code, std::string(100'000, 'm')}), &error));
    EXPECT_EQ(error.code, code);
    EXPECT_EQ(error.message.size(), 8U << 10);
  }
  Error error;
  ASSERT_TRUE(DecodeFailure(EncodeFailure({ErrorCode::kQueueFull, "m"}), &error));
  EXPECT_EQ(error.code, ErrorCode::kInternal);  // not one of theirs
  std::string body = EncodeFailure({ErrorCode::kInternal, "m"});
  body[0] = '\x06';
  EXPECT_FALSE(DecodeFailure(body, &error));
}

// Whatever is done to what was said, it is refused or is within its bounds.
TEST(AgentWire, MutationsAreRefusedOrHarmless) {
  std::mt19937 random(20);
  std::string entries;
  for (int i = 0; i < 3; ++i) AppendEntry(SomeInfo(), &entries);
  AgentRequest request;
  request.path = "/some/path";
  request.other = "other";
  const std::string seeds[] = {entries, EncodeRequest(request), EncodeText("/tmp/x"),
                               EncodeAnswer({.number = 3, .text = "/x"}),
                               EncodeFailure({ErrorCode::kNotFound, "message"})};
  for (int i = 0; i < 50'000; ++i) {
    std::string body = seeds[random() % std::size(seeds)];
    for (unsigned changes = 1 + random() % 4; changes > 0 && !body.empty(); --changes) {
      const std::size_t at = random() % body.size();
      switch (random() % 4) {
        case 0:
          body[at] = static_cast<char>(random());
          break;
        case 1:
          body.erase(at, 1 + random() % 8);
          break;
        case 2:
          body.insert(at, 1 + random() % 8, static_cast<char>(random()));
          break;
        default:
          body.replace(at, std::min<std::size_t>(4, body.size() - at), "\xff\xff\xff\xff");
      }
    }
    std::vector<FileInfo> infos;
    if (DecodeEntries(body, 4, &infos)) {
      ASSERT_LE(infos.size(), 4U);
      for (const FileInfo& info : infos) {
        ASSERT_EQ(info.path.front(), '/');
        ASSERT_LE(info.path.size(), body.size());
        ASSERT_LE(info.mode, 0777U);
        ASSERT_LE(static_cast<int>(info.type), 3);
      }
    }
    AgentRequest decoded;
    if (DecodeRequest(body, &decoded)) {
      ASSERT_LE(decoded.path.size() + decoded.other.size(), body.size());
    }
    std::string text;
    (void)DecodeText(body, &text);
    AgentAnswer answer;
    (void)DecodeAnswer(body, &answer);
    Error error;
    (void)DecodeFailure(body, &error);
  }
}

}  // namespace
}  // namespace forkbox::execd
