#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

TEST(Utf8, RepairReplacesEachMaximalSubpart) {
  // The example of the Unicode standard, section 3.9, and its neighbours.
  EXPECT_EQ(repair_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFD"
            "b\uFFFD"
            "c\uFFFD\uFFFD"
            "d");
  EXPECT_EQ(repair_utf8("\xC0\x80"), "\uFFFD\uFFFD");                      // overlong
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");            // a surrogate
  EXPECT_EQ(repair_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // beyond U+10FFFF
  EXPECT_EQ(repair_utf8("\xF0\x9F\x91"), "\uFFFD");                        // unfinished
}

TEST(Utf8, EveryCodePointSurvives) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = utf8_step(text);
    ASSERT_TRUE(step.kind == Utf8Step::Kind::kValid) << text;
    ASSERT_TRUE(step.code_point == c);
    ASSERT_EQ(step.bytes, text.size());
  }
}

TEST(Utf8, PiecesGiveTheSameAsTheWhole) {
  constexpr unsigned kSeed = 3;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 5000; ++round) {
    std::string bytes(random() % 16, '\0');
    for (char& byte : bytes) {
      byte = static_cast<char>("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x91\xA8\xFF\xED"[random() % 12]);
    }
    Utf8Repairer repairer;
    std::string pieces;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = 1 + random() % 3;
      pieces += repairer.push(std::string_view(bytes).substr(at, size));
      ASSERT_TRUE(is_utf8(pieces));
      at += size;
    }
    pieces += repairer.flush();
    ASSERT_EQ(pieces, repair_utf8(bytes)) << "seed " << kSeed << ", round " << round;
  }
}

}  // namespace
}  // namespace tessera
