#include "runner/execd/session_wire.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>
#include <thread>

#include "base/unique_fd.h"

namespace forkbox::execd {
namespace {

using nlohmann::json;
using Step = FrameReader::Step;

std::string Frame(std::string_view body) {
  std::string bytes;
  for (std::size_t i = 0; i < 4; ++i) {
    bytes.push_back(static_cast<char>(body.size() >> (8 * i) & 0xff));
  }
  return bytes.append(body);
}

// Everything that comes of the bytes, fed in pieces of that size; "broken" as a last word.
std::vector<std::string> Read(std::string_view bytes, std::size_t piece) {
  FrameReader reader;
  std::vector<std::string> frames;
  while (!bytes.empty()) {
    reader.Append(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    json message;
    Step step = Step::kNeedMore;
    while ((step = reader.Next(&message)) == Step::kFrame) frames.push_back(message.dump());
    if (step == Step::kBroken) {
      frames.emplace_back("broken");
      break;
    }
  }
  return frames;
}

struct Ends {
  UniqueFd ours, theirs;
};
Ends Channel() {
  int pair[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

Deadline In(std::chrono::milliseconds patience) {
  return std::chrono::steady_clock::now() + patience;
}

TEST(SessionWireTest, FramesAreReadInWhateverPiecesTheyCome) {
  const std::string bytes = Frame(R"({"ev":"ready"})") + Frame("{}") + Frame(R"({"a":[1,2]})");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{7}, bytes.size()}) {
    EXPECT_THAT(Read(bytes, piece),
                ::testing::ElementsAre(R"({"ev":"ready"})", "{}", R"({"a":[1,2]})"))
        << piece;
  }
  EXPECT_THAT(Read(bytes.substr(0, bytes.size() - 1), 5), ::testing::SizeIs(2));
}

TEST(SessionWireTest, WhatBreaksTheRulesIsBrokenForGood) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  std::string many = R"({"a":[0)";
  for (int i = 0; i < 200'000; ++i) many += ",0";
  const std::pair<const char*, std::string> cases[] = {
      {"no object", Frame("[]")},
      {"no json", Frame("{")},
      {"nothing", Frame("")},
      {"more than one", Frame("{}{}")},
      {"too long", std::string("\x01\x00\x00\x01", 4)},
      {"far too long", std::string("\xff\xff\xff\xff", 4)},
      {"no utf-8", Frame("{\"a\":\"\xff\"}")},
      {"deep", Frame(R"({"a":)" + deep + "}")},
      {"many", Frame(many + "]}")},
      {"text", "Hello, world!\n"},
  };
  for (const auto& [name, bytes] : cases) {
    EXPECT_THAT(Read(bytes, 1U << 16), ::testing::ElementsAre("broken")) << name;
    FrameReader reader;
    json message;
    reader.Append(bytes);
    EXPECT_EQ(reader.Next(&message), Step::kBroken) << name;
    reader.Append(Frame("{}"));
    EXPECT_EQ(reader.Next(&message), Step::kBroken) << name;
  }
}

TEST(SessionWireTest, NoBytesMakeItCrash) {
  const std::string good = Frame(R"({"ev":"result","count":2,"data":{"text/plain":"4"}})") +
                           Frame(R"({"ev":"error","ename":"E","traceback":["a","b"]})");
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (std::uint32_t change = 0; change <= random() % 4; ++change) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1);
          break;
        default:
          bytes.insert(at, 1, static_cast<char>(random()));
      }
    }
    const std::vector<std::string> whole = Read(bytes, bytes.size());
    EXPECT_LE(whole.size(), 3U);
    EXPECT_EQ(Read(bytes, 1 + random() % 16), whole);
  }
}

TEST(SessionWireTest, ALargeFrameGoesThroughAndABeyondLargeOneDoesNot) {
  const Ends channel = Channel();
  const json message = {{"op", "run"}, {"code", std::string(kMaxSessionFrameBytes - 64, 'x')}};
  std::jthread sender([&] {
    const auto sent = SendFrame(channel.ours.get(), message, In(std::chrono::seconds(30)));
    EXPECT_TRUE(sent) << sent.error().message;
  });
  FrameReader reader;
  json read;
  std::string piece(1U << 16, '\0');
  while (reader.Next(&read) != Step::kFrame) {
    const ssize_t size = ::read(channel.theirs.get(), piece.data(), piece.size());
    ASSERT_GT(size, 0);
    reader.Append({piece.data(), static_cast<std::size_t>(size)});
  }
  EXPECT_EQ(read, message);
  const auto refused = SendFrame(channel.ours.get(), std::string(kMaxSessionFrameBytes, 'x'),
                                 In(std::chrono::seconds(1)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
}

// A frame that is all there, piece by piece as reading it would give.
Step Take(FrameReader& reader, std::string_view bytes, json* message) {
  Step step = Step::kNeedMore;
  for (; !bytes.empty() && step == Step::kNeedMore; step = reader.Next(message)) {
    if (reader.WaitsForRoom()) return step;
    reader.Append(bytes.substr(0, 65536));
    bytes.remove_prefix(std::min<std::size_t>(65536, bytes.size()));
  }
  return step;
}

TEST(SessionWireTest, LargeFramesWaitForTheirTurn) {
  ByteBudget of_box(kMaxSessionFrameBytes);
  ByteBudget of_process(2 * kMaxSessionFrameBytes);
  const std::string large = Frame(R"({"a":")" + std::string(10U << 20, 'x') + R"("})");
  const std::string begun = large.substr(0, 100'000);
  json message;
  FrameReader first(of_box, of_process);
  EXPECT_EQ(Take(first, begun, &message), Step::kNeedMore);
  EXPECT_TRUE(first.HoldsPart());
  {
    FrameReader second(of_box, of_process);  // of the same box: there is no room for two
    EXPECT_EQ(Take(second, begun, &message), Step::kNeedMore);
    EXPECT_TRUE(second.WaitsForRoom());
    FrameReader small(of_box, of_process);
    EXPECT_EQ(Take(small, Frame("{}"), &message), Step::kFrame);
    ByteBudget of_another(kMaxSessionFrameBytes);
    FrameReader other(of_another, of_process);
    EXPECT_EQ(Take(other, large, &message), Step::kFrame);
    FrameReader third(of_another, of_process);  // until the one before has been dealt with
    EXPECT_EQ(Take(third, begun, &message), Step::kNeedMore);
    EXPECT_TRUE(third.WaitsForRoom());
    EXPECT_EQ(other.Next(&message), Step::kNeedMore);
    EXPECT_EQ(third.Next(&message), Step::kNeedMore);
    EXPECT_FALSE(third.WaitsForRoom());

    EXPECT_EQ(Take(first, std::string_view(large).substr(begun.size()), &message), Step::kFrame);
    first.LetGo();
    EXPECT_EQ(second.Next(&message), Step::kNeedMore);
    EXPECT_FALSE(second.WaitsForRoom());
    second.Append(std::string_view(large).substr(65536));
    EXPECT_EQ(second.Next(&message), Step::kFrame);
    EXPECT_GT(of_box.used(), 0U);
  }
  EXPECT_EQ(of_box.used(), 0U);  // with the readers it is all given back
  EXPECT_EQ(of_process.used(), 0U);
}

TEST(SessionWireTest, WhatIsBrokenHoldsNothing) {
  ByteBudget of_box(kMaxSessionFrameBytes);
  ByteBudget of_process(kMaxSessionFrameBytes);
  FrameReader reader(of_box, of_process);
  json message;
  EXPECT_EQ(Take(reader, Frame("[" + std::string(1U << 20, ' ') + "]"), &message), Step::kBroken);
  EXPECT_EQ(of_box.used(), 0U);
  EXPECT_EQ(of_process.used(), 0U);
}

TEST(SessionWireTest, DescriptorsComeWithTheFirstByte) {
  const Ends channel = Channel();
  int pipe_ends[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  const std::array<int, 2> given{write_end.get(), channel.ours.get()};
  ASSERT_TRUE(SendFrame(channel.ours.get(), {{"op", "fork"}}, In(std::chrono::seconds(1)), given));
  write_end.Reset();

  char first = 0;
  iovec part{&first, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ASSERT_EQ(::recvmsg(channel.theirs.get(), &header, MSG_CMSG_CLOEXEC), 1);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  ASSERT_NE(rights, nullptr);
  ASSERT_EQ(rights->cmsg_len, CMSG_LEN(2 * sizeof(int)));
  std::array<int, 2> taken{};
  std::memcpy(taken.data(), CMSG_DATA(rights), sizeof taken);
  const UniqueFd pipe_copy(taken[0]);
  const UniqueFd channel_copy(taken[1]);
  EXPECT_EQ(::write(pipe_copy.get(), "x", 1), 1);
  char letter = 0;
  EXPECT_EQ(::read(read_end.get(), &letter, 1), 1);
}

TEST(SessionWireTest, ASessionThatTakesNothingOrIsGoneIsSaidSo) {
  Ends channel = Channel();
  const json large = {{"code", std::string(4U << 20, 'x')}};
  auto sent = SendFrame(channel.ours.get(), large, In(std::chrono::milliseconds(50)));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kUnavailable);
  channel.theirs.Reset();
  sent = SendFrame(channel.ours.get(), {{"op", "run"}}, In(std::chrono::seconds(1)));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forkbox::execd
