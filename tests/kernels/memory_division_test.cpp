#include "kernels/memory_division.hpp"

#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::size_t kMebi = std::size_t{1} << 20;
constexpr std::size_t kGibi = std::size_t{1} << 30;

// An 8B model in four bits on a card of 80 GiB.
constexpr MemoryNeeds kNeeds{.free_bytes = 79 * kGibi,
                             .weight_bytes = 5 * kGibi,
                             .scratch_bytes = 300 * kMebi,
                             .graph_bytes = 80 * kMebi,
                             .reserve_bytes = 256 * kMebi,
                             .block_bytes = 2 * kMebi};
constexpr MemoryWishes kLongest{.least_blocks = 512};

std::size_t all_parts(const MemoryDivision& division) {
  return division.weight_bytes + division.scratch_bytes + division.graph_bytes + division.kv_bytes +
         division.adapter_bytes + division.reserve_bytes;
}

std::string refusal(const MemoryNeeds& needs, const MemoryWishes& wishes) {
  try {
    divide_memory(needs, wishes);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(MemoryDivision, AQuarterOfThePoolIsForAdaptersAndTheRestForKv) {
  const MemoryDivision division = divide_memory(kNeeds, kLongest);
  const std::size_t pool = 79 * kGibi - 5 * kGibi - 636 * kMebi;
  EXPECT_EQ(all_parts(division), kNeeds.free_bytes);
  EXPECT_EQ(division.kv_bytes, static_cast<std::size_t>(division.num_blocks) * 2 * kMebi);
  EXPECT_GE(division.adapter_bytes, pool / 4);
  EXPECT_LT(division.adapter_bytes, pool / 4 + 2 * kMebi) << "less than a block more";
  EXPECT_EQ(division.reserve_bytes, kNeeds.reserve_bytes);
}

TEST(MemoryDivision, BlocksThatAreOfNoUseAreAdapters) {
  const MemoryDivision division = divide_memory(kNeeds, {.least_blocks = 512, .most_blocks = 1024});
  EXPECT_EQ(division.num_blocks, 1024);
  EXPECT_EQ(division.kv_bytes, 2 * kGibi);
  EXPECT_EQ(all_parts(division), kNeeds.free_bytes);
}

TEST(MemoryDivision, WhatIsAskedForInBytesIsGiven) {
  const MemoryDivision kv = divide_memory(kNeeds, {.kv_bytes = 10 * kGibi, .least_blocks = 512});
  EXPECT_EQ(kv.kv_bytes, 10 * kGibi);
  EXPECT_EQ(all_parts(kv), kNeeds.free_bytes) << "all the rest is for adapters";
  const MemoryDivision adapters =
      divide_memory(kNeeds, {.adapter_bytes = 3 * kGibi, .least_blocks = 512});
  EXPECT_GE(adapters.adapter_bytes, 3 * kGibi);
  EXPECT_LT(adapters.adapter_bytes, 3 * kGibi + 2 * kMebi);
  EXPECT_EQ(all_parts(adapters), kNeeds.free_bytes) << "all the rest is for KV";
}

TEST(MemoryDivision, WhereBothAreAskedForTheRestIsLeftAlone) {
  const MemoryDivision division = divide_memory(
      kNeeds, {.kv_bytes = 4 * kGibi, .adapter_bytes = 3 * kGibi, .least_blocks = 512});
  EXPECT_EQ(division.kv_bytes, 4 * kGibi);
  EXPECT_EQ(division.adapter_bytes, 3 * kGibi);
  EXPECT_EQ(all_parts(division), kNeeds.free_bytes);
  EXPECT_GT(division.reserve_bytes, 60 * kGibi);
}

TEST(MemoryDivision, TheLongestSequenceHasRoomHoweverLittleWasAskedFor) {
  const MemoryDivision division = divide_memory(kNeeds, {.kv_bytes = kMebi, .least_blocks = 512});
  EXPECT_EQ(division.num_blocks, 512);
}

TEST(MemoryDivision, OnASmallCardKvTakesOfTheAdaptersQuarterButNotAll) {
  MemoryNeeds needs = kNeeds;
  needs.free_bytes = (5120 + 636 + 1100) * kMebi;
  const MemoryDivision division = divide_memory(needs, kLongest);
  EXPECT_EQ(division.num_blocks, 512);
  EXPECT_EQ(all_parts(division), needs.free_bytes);
  EXPECT_GE(division.adapter_bytes, 64 * kMebi);
}

TEST(MemoryDivision, TooLittleIsOneLineThatSaysWhatTakesHowMuch) {
  MemoryNeeds needs = kNeeds;
  needs.free_bytes = 6 * kGibi;
  const std::string line = refusal(needs, kLongest);
  EXPECT_EQ(line,
            "GPU memory is too small: 6.0 GiB are free and 6.7 GiB are needed: weights 5.0 GiB, "
            "scratch 300 MiB, graphs 80 MiB, reserve 256 MiB, KV at least 1.0 GiB, adapters 64 "
            "MiB; a smaller --max-context, --kv-bytes or --adapter-device-bytes needs less");
}

TEST(MemoryDivision, NoWishIsGrantedByAnother) {
  MemoryNeeds needs = kNeeds;
  EXPECT_NE(refusal(needs, {.adapter_bytes = 73 * kGibi, .least_blocks = 512}), "");
  EXPECT_NE(refusal(needs, {.kv_bytes = 74 * kGibi, .least_blocks = 512}), "");
  needs.free_bytes = kGibi;
  EXPECT_NE(refusal(needs, kLongest), "") << "less than the weights";
}

// Whatever is free, the parts are no more than that, and each is what was said of it.
TEST(MemoryDivision, EveryDivisionAddsUp) {
  for (std::size_t free = 5 * kGibi; free < 90 * kGibi; free += 617 * kMebi) {
    for (const std::size_t kv : {std::size_t{0}, 2 * kGibi}) {
      for (const std::size_t adapters : {std::size_t{0}, kGibi}) {
        MemoryNeeds needs = kNeeds;
        needs.free_bytes = free;
        const MemoryWishes wishes{.kv_bytes = kv, .adapter_bytes = adapters, .least_blocks = 100};
        if (!refusal(needs, wishes).empty()) continue;
        const MemoryDivision division = divide_memory(needs, wishes);
        EXPECT_EQ(all_parts(division), free);
        EXPECT_GE(division.num_blocks, 100);
        EXPECT_GE(division.adapter_bytes, adapters);
        EXPECT_GE(division.reserve_bytes, needs.reserve_bytes);
      }
    }
  }
}

TEST(MemoryDivision, ExactlyWhatATestWantsAndNoMore) {
  const MemoryDivision division = divide_memory(kNeeds, 100, 7 * kMebi);
  EXPECT_EQ(division.num_blocks, 100);
  EXPECT_EQ(division.adapter_bytes, 7 * kMebi);
  EXPECT_EQ(all_parts(division), kNeeds.free_bytes);
}

TEST(MemoryDivision, IsTold) {
  EXPECT_EQ(describe(divide_memory(kNeeds, 1024, 3 * kGibi)),
            "79.0 GiB: weights 5.0 GiB, scratch 300 MiB, graphs 80 MiB, KV 2.0 GiB (1024 blocks), "
            "adapters 3.0 GiB, reserve 68.6 GiB");
}

}  // namespace
}  // namespace tessera
