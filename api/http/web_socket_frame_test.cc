// Frames of clients: what is taken and with which code the rest is refused.
#include "api/http/web_socket_frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace forkbox::http {
namespace {

using namespace std::string_literals;

// A masked frame; `length` in its shortest form.
std::string Frame(unsigned first, const std::string& payload) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(0x80U | payload.size()));
  } else if (payload.size() <= 0xffff) {
    frame.push_back(static_cast<char>(0x80 | 126));
    frame.push_back(static_cast<char>(payload.size() >> 8));
    frame.push_back(static_cast<char>(payload.size()));
  } else {
    frame.push_back(static_cast<char>(0x80 | 127));
    for (int i = 7; i >= 0; --i) frame.push_back(static_cast<char>(payload.size() >> (8 * i)));
  }
  const std::string mask = "\x01\xfe\x7f\x80";
  frame += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(static_cast<char>(payload[i] ^ mask[i % 4]));
  }
  return frame;
}

struct FrameCase {
  std::string name;
  std::string bytes;
  std::string frames;  // "1.payload;" by opcode, with '.' for a final frame and '+' for another
  int code;            // of the refusal
};
class WebSocketFrameTest : public testing::TestWithParam<FrameCase> {};

TEST_P(WebSocketFrameTest, TakenOrRefusedHoweverCut) {
  const FrameCase& c = GetParam();
  for (std::size_t step : {std::size_t{1}, std::size_t{3}, c.bytes.size()}) {
    WebSocketFrameParser parser(1000);
    std::string frames;
    for (std::size_t at = 0; at < c.bytes.size(); at += step) {
      parser.Append(std::string_view(c.bytes).substr(at, step));
      WebSocketFrame frame;
      while (parser.Next(&frame) == WebSocketFrameParser::Step::kFrame) {
        frames += std::to_string(static_cast<int>(frame.opcode)) + (frame.final ? "." : "+") +
                  frame.payload + ";";
      }
    }
    EXPECT_EQ(frames, c.frames);
    EXPECT_EQ(parser.close_code(), c.code);
  }
}

const std::string kThousand(1000, 'x');

INSTANTIATE_TEST_SUITE_P(
    Table, WebSocketFrameTest,
    testing::Values(
        FrameCase{"text", Frame(0x81, "Hello"), "1.Hello;", 0},
        FrameCase{"empty", Frame(0x81, ""), "1.;", 0},
        FrameCase{"binary", Frame(0x82, "\0\xff"s), "2.\0\xff;"s, 0},
        FrameCase{"length_125", Frame(0x81, std::string(125, 'a')),
                  "1." + std::string(125, 'a') + ";", 0},
        FrameCase{"length_126", Frame(0x81, std::string(126, 'a')),
                  "1." + std::string(126, 'a') + ";", 0},
        FrameCase{"fragments", Frame(0x01, "a") + Frame(0x00, "b") + Frame(0x80, "c"),
                  "1+a;0+b;0.c;", 0},
        FrameCase{"control_between", Frame(0x01, "a") + Frame(0x89, "p") + Frame(0x80, "c"),
                  "1+a;9.p;0.c;", 0},
        FrameCase{"longest", Frame(0x82, kThousand), "2." + kThousand + ";", 0},
        FrameCase{"too_long", Frame(0x82, kThousand + "x"), "", 1009},
        FrameCase{"far_too_long", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "", 1009},
        FrameCase{"too_long_in_pieces", Frame(0x02, kThousand) + Frame(0x80, "x"),
                  "2+" + kThousand + ";", 1009},
        FrameCase{"not_masked", "\x81\x05Hello", "", 1002},
        FrameCase{"reserved_1", Frame(0xc1, "x"), "", 1002},
        FrameCase{"reserved_2", Frame(0xa1, "x"), "", 1002},
        FrameCase{"reserved_3", Frame(0x91, "x"), "", 1002},
        FrameCase{"opcode_3", Frame(0x83, "x"), "", 1002},
        FrameCase{"opcode_7", Frame(0x87, "x"), "", 1002},
        FrameCase{"opcode_11", Frame(0x8b, "x"), "", 1002},
        FrameCase{"opcode_15", Frame(0x8f, "x"), "", 1002},
        FrameCase{"ping_in_pieces", Frame(0x09, "x"), "", 1002},
        FrameCase{"close_in_pieces", Frame(0x08, ""), "", 1002},
        FrameCase{"ping_125", Frame(0x89, std::string(125, 'p')),
                  "9." + std::string(125, 'p') + ";", 0},
        FrameCase{"ping_126", Frame(0x89, std::string(126, 'p')), "", 1002},
        FrameCase{"continues_nothing", Frame(0x80, "x"), "", 1002},
        FrameCase{"continues_nothing_after_one", Frame(0x81, "x") + Frame(0x00, "y"), "1.x;", 1002},
        FrameCase{"inside_another", Frame(0x01, "x") + Frame(0x81, "y"), "1+x;", 1002},
        FrameCase{"length_16_too_wide", "\x81\xfe\x00\x05\x01\x01\x01\x01"s, "", 1002},
        FrameCase{"length_64_too_wide", "\x81\xff\x00\x00\x00\x00\x00\x00\x03\x00"s, "", 1002},
        FrameCase{"length_negative", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00"s, "", 1002}),
    [](const auto& test) { return test.param.name; });

TEST(WebSocketFrameFormatTest, LengthsAreInTheirShortestForm) {
  EXPECT_EQ(FormatWebSocketFrame(WebSocketOpcode::kText, "Hello"), "\x81\x05Hello");
  EXPECT_EQ(FormatWebSocketFrame(WebSocketOpcode::kBinary, std::string(126, 'x')).substr(0, 4),
            "\x82\x7e\x00\x7e"s);
  EXPECT_EQ(FormatWebSocketFrame(WebSocketOpcode::kBinary, std::string(65536, 'x')).substr(0, 10),
            "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"s);
}

TEST(WebSocketCloseCodeTest, TheOnesAClientMaySay) {
  for (const int code : {1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999}) {
    EXPECT_TRUE(IsWebSocketCloseCode(static_cast<std::uint16_t>(code))) << code;
  }
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535}) {
    EXPECT_FALSE(IsWebSocketCloseCode(static_cast<std::uint16_t>(code))) << code;
  }
}

}  // namespace
}  // namespace forkbox::http
