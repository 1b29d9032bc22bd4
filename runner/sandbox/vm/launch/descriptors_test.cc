#include "runner/sandbox/vm/launch/descriptors.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {
namespace {

std::string BodyOf(const std::string& packet) { return packet.substr(sizeof(std::uint32_t)); }

TEST(LaunchTest, WhatIsEncodedIsDecodedAndSaysItsSize) {
  const std::vector<std::string> words = {"/usr/bin/qemu", "-m", "256M", "", "a b"};
  const std::string packet = EncodeLaunch(words);
  std::uint32_t size = 0;
  std::memcpy(&size, packet.data(), sizeof size);
  EXPECT_EQ(size, packet.size() - sizeof size);
  EXPECT_EQ(DecodeLaunch(BodyOf(packet)), words);
}

TEST(LaunchTest, WhatNobodyWroteIsRefused) {
  const std::string good = BodyOf(EncodeLaunch({"a", "b"}));
  WireWriter claims;
  claims.U32(0xffffffff);
  const std::string nul("a\0b", 3);
  for (const std::string& body :
       {std::string(), good + "x", good.substr(0, good.size() - 1), claims.bytes(),
        BodyOf(EncodeLaunch({})), BodyOf(EncodeLaunch({nul})),
        BodyOf(EncodeLaunch(std::vector<std::string>(kMaxLaunchWords + 1, "x")))}) {
    EXPECT_FALSE(DecodeLaunch(body));
  }
}

TEST(LaunchTest, NoBytesBreakTheReader) {
  std::mt19937 random(7);
  const std::string good = BodyOf(EncodeLaunch({"/usr/bin/qemu", "-m", "256M"}));
  for (int round = 0; round < 5000; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % (bytes.size() + 1));
    const auto words = DecodeLaunch(bytes);
    if (words) {
      EXPECT_LE(words->size(), kMaxLaunchWords);
    }
  }
}

}  // namespace
}  // namespace forkbox::sandbox::vm
