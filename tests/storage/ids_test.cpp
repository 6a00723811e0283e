#include "storage/ids.hpp"

#include <array>
#include <set>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using std::chrono::milliseconds;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

TEST(RandomBase62, HasTheAskedLengthAndOnlyItsAlphabet) {
  EXPECT_EQ(random_base62(0), "");
  const std::string text = random_base62(1000);
  EXPECT_EQ(text.size(), 1000U);
  EXPECT_EQ(
      text.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
      text.npos);
}

TEST(RandomBase62, FavoursNoCharacter) {
  constexpr int kSamples = 62 * 2000;
  std::array<int, 128> counts{};
  for (const char c : random_base62(kSamples)) ++counts[static_cast<std::size_t>(c)];
  double chi_squared = 0;
  for (const int count : counts) {
    if (count > 0) chi_squared += (count - 2000.0) * (count - 2000.0) / 2000.0;
  }
  EXPECT_LT(chi_squared, 140);  // 61 degrees of freedom: exceeded once in ten million runs
}

TEST(Ulid, BeginsWithItsTime) {
  EXPECT_EQ(new_ulid(kNow).substr(0, 10), "01HF7YAT00");
  EXPECT_EQ(new_ulid(kNow).size(), 26U);
}

TEST(Ulid, SortsByCreation) {
  EXPECT_LT(new_ulid(kNow), new_ulid(kNow + milliseconds(1)));
  EXPECT_LT(new_ulid(kNow + milliseconds(31)), new_ulid(kNow + milliseconds(32)));
}

TEST(Ulid, DoesNotRepeatWithinAMillisecond) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(new_ulid(kNow));
  EXPECT_EQ(ids.size(), 1000U);
}

TEST(Ulid, TellsItsTime) {
  EXPECT_EQ(ulid_time(new_ulid(kNow)), floor<std::chrono::milliseconds>(kNow));
  for (const char* none :
       {"", "01HF7YAT00", "01HF7YAT00ILOU000000000000", "ZZZZZZZZZZ0000000000000000"}) {
    EXPECT_FALSE(ulid_time(none)) << none;
  }
}

}  // namespace
}  // namespace tessera
