#include "storage/keys.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::string_literals;
using namespace std::chrono_literals;

ContentDigest digest_of(std::uint8_t first) {
  ContentDigest digest;
  digest.bytes[0] = first;
  return digest;
}

TEST(Keys, HaveTheLayoutOfThePage) {
  EXPECT_EQ(keys::tenant("proj_1"), "tproj_1");
  EXPECT_EQ(keys::adapter("proj_1", "bot"), "aproj_1\0bot"s);
  EXPECT_EQ(keys::version("p", "bot", 0x01020304), "vp\0bot\0\x01\x02\x03\x04"s);
  EXPECT_EQ(keys::chunk(digest_of(9), 1, 2),
            std::string(keys::bytes_of(digest_of(9))) + "\1\0\0\0\2"s);
}

TEST(Keys, NumbersAndTimesSortAsBytes) {
  EXPECT_LT(keys::version("p", "bot", 9), keys::version("p", "bot", 10));
  EXPECT_LT(keys::version("p", "bot", 255), keys::version("p", "bot", 256));
  EXPECT_LT(keys::chunk(digest_of(1), 0, 255), keys::chunk(digest_of(1), 0, 256));
  EXPECT_LT(keys::usage_record(WallTime(1s), "z"), keys::usage_record(WallTime(2s), "a"));
}

TEST(Keys, WhatIdempotencyKeysWereChargedLiesByDays) {
  EXPECT_EQ(keys::key_charge(0x01020304, digest_of(9)),
            "i\1\2\3\4" + std::string(keys::bytes_of(digest_of(9))));
  EXPECT_LT(keys::key_charge(255, digest_of(9)), keys::key_charges_from(256));
  EXPECT_GE(keys::key_charge(256, digest_of(0)), keys::key_charges_from(256));
}

TEST(Keys, NumberAtEndIsTheVersionOrChunk) {
  EXPECT_EQ(keys::number_at_end(keys::version("p", "bot", 0xFFFE0102)), 0xFFFE0102);
  EXPECT_EQ(keys::number_at_end(keys::chunk(digest_of(1), 1, 7)), 7U);
}

TEST(Keys, PrefixesOfOneTenantDoNotReachAnother) {
  EXPECT_TRUE(keys::adapter("p1", "bot").starts_with(keys::adapters("p1")));
  EXPECT_FALSE(keys::adapter("p12", "bot").starts_with(keys::adapters("p1")));
  EXPECT_FALSE(keys::version("p", "bot2", 1).starts_with(keys::versions("p", "bot")));
  EXPECT_FALSE(keys::alias("p", "bot2", "prod").starts_with(keys::aliases("p", "bot")));
  EXPECT_FALSE(keys::totals_of_adapter("p12", "").starts_with(keys::adapter_totals("p1")));
}

}  // namespace
}  // namespace tessera
