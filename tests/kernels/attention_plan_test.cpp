#include "kernels/cpu/attention_plan.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/kv_layout.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

// Sequences of `rows` new positions from `first` on.
struct Sequence {
  int first;
  int rows;
};

class Step {
 public:
  explicit Step(const std::vector<Sequence>& sequences) {
    for (const Sequence& sequence : sequences) {
      for (int i = 0; i < sequence.rows; ++i) positions_.push_back(sequence.first + i);
      indptr_.push_back(static_cast<std::int32_t>(positions_.size()));
      slots_.push_back(kNoAdapter);
    }
  }
  StepInput input() const {
    StepInput input;
    input.positions = positions_;
    input.seq_indptr = indptr_;
    input.slots = slots_;
    return input;
  }
  int position(int row) const { return positions_[static_cast<std::size_t>(row)]; }
  int size() const { return static_cast<int>(positions_.size()); }

 private:
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> indptr_ = {0};
  std::vector<AdapterSlot> slots_;
};

// Every part that a row attends to is done by exactly one thread for every KV head, and none that
// no row of its tile does; a divided item has records of its own and all others none.
void expect_complete(const AttentionPlan& plan, const Step& step, int num_kv_heads,
                     int num_threads) {
  const auto first_part = [&](int position) {
    return plan.window() == 0 ? 0 : std::max(0, position + 1 - plan.window()) / kAttentionSplit;
  };
  std::map<std::tuple<int, int, int>, int> done;  // row, KV head, part
  std::map<int, std::pair<int, int>> item_of_records;
  for (int thread = 0; thread < num_threads; ++thread) {
    for (const AttentionShare& share : plan.shares_of(thread)) {
      const AttentionTile& tile = plan.tile(share);
      const bool is_whole = share.first_part == tile.first_part && share.last_part == tile.end_part;
      EXPECT_EQ(is_whole, share.records == kNoRecords);
      if (!is_whole) {
        const std::pair<int, int> item(share.tile, share.kv_head);
        EXPECT_EQ(item_of_records.emplace(share.records, item).first->second, item);
      }
      EXPECT_EQ(first_part(tile.first_position), tile.first_part);
      for (int row = tile.first_row; row < tile.first_row + tile.num_rows; ++row) {
        EXPECT_EQ(step.position(row) / kAttentionSplit + 1, tile.end_part);
        for (int part = share.first_part; part < share.last_part; ++part) {
          ++done[{row, share.kv_head, part}];
        }
      }
    }
  }
  EXPECT_EQ(item_of_records.size(), plan.divided().size());
  EXPECT_LT(plan.divided().size(), static_cast<std::size_t>(num_threads));
  for (int row = 0; row < step.size(); ++row) {
    for (int head = 0; head < num_kv_heads; ++head) {
      const int end = step.position(row) / kAttentionSplit + 1;
      for (int part = first_part(step.position(row)); part < end; ++part) {
        EXPECT_EQ((done[{row, head, part}]), 1) << row << " " << head << " " << part;
      }
    }
  }
}

TEST(AttentionPlan, DealsEveryPartOfEveryRowOnceWhateverTheStep) {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int group = uniform(random, 1, 40);
    const int num_kv_heads = uniform(random, 1, 4);
    const int num_threads = uniform(random, 1, 9);
    const int max_records = uniform(random, 1, 400);
    const int window = chance(random, 0.5) ? uniform(random, 1, 1000) : 0;
    AttentionPlan plan(200, group, num_kv_heads, num_threads, max_records, window);
    for (int step_index = 0; step_index < 3; ++step_index) {
      std::vector<Sequence> sequences(static_cast<std::size_t>(uniform(random, 0, 5)));
      for (Sequence& sequence : sequences) {
        sequence = {uniform(random, 0, chance(random, 0.5) ? 3000 : 20), uniform(random, 1, 40)};
      }
      const Step step(sequences);
      plan.build(step.input());
      expect_complete(plan, step, num_kv_heads, num_threads);
    }
  }
}

TEST(AttentionPlan, OneLongSequenceKeepsAllThreadsBusy) {
  AttentionPlan plan(8, 6, 1, 4, 1000);
  const Step step({{4095, 1}});
  plan.build(step.input());
  ASSERT_EQ(plan.divided().size(), 1U);
  for (int thread = 0; thread < 4; ++thread) {
    ASSERT_EQ(plan.shares_of(thread).size(), 1U);
    const AttentionShare& share = plan.shares_of(thread)[0];
    EXPECT_EQ(share.last_part - share.first_part, 4);
  }
}

TEST(AttentionPlan, HeadsThatCanBeSharedOutEvenlyAreNotDivided) {
  AttentionPlan plan(8, 4, 8, 2, 1000);
  const Step step({{4095, 1}, {130, 1}});
  plan.build(step.input());
  EXPECT_LE(plan.divided().size(), 1U);
  const Step one({{4095, 1}});
  plan.build(one.input());
  EXPECT_TRUE(plan.divided().empty());
  EXPECT_EQ(plan.shares_of(0).size(), 4U);
  EXPECT_EQ(plan.shares_of(1).size(), 4U);
}

TEST(AttentionPlan, AnItemWithoutRoomForItsRecordsIsNotDivided) {
  AttentionPlan plan(8, 6, 1, 4, 6 * 15);
  const Step step({{4095, 1}});  // 16 parts of 6 queries
  plan.build(step.input());
  EXPECT_TRUE(plan.divided().empty());
}

TEST(AttentionPlan, TilesShareNoPartWithTheirNeighboursEnd) {
  AttentionPlan plan(200, 4, 1, 1, 1);
  const Step step({{250, 20}});
  plan.build(step.input());
  std::vector<std::pair<int, int>> tiles;
  for (const AttentionShare& share : plan.shares_of(0)) {
    tiles.emplace_back(plan.tile(share).first_position, plan.tile(share).num_rows);
  }
  EXPECT_EQ(tiles, (std::vector<std::pair<int, int>>{{250, 6}, {256, 8}, {264, 6}}));
}

TEST(AttentionPlan, PartsBeforeTheWindowAreNotDealt) {
  AttentionPlan plan(8, 4, 2, 1, 1000, 100);
  const Step step({{4095, 1}, {4096, 1}, {99, 1}});
  plan.build(step.input());
  for (const AttentionShare& share : plan.shares_of(0)) {
    const AttentionTile& tile = plan.tile(share);
    EXPECT_EQ(share.first_part, (tile.first_position - 99) / kAttentionSplit);
    EXPECT_EQ(share.last_part, tile.first_position / kAttentionSplit + 1);
  }
}

TEST(AttentionPlan, RebuildingAllocatesNothing) {
  AttentionPlan plan(64, 2, 3, 4, 100);
  const Step step({{600, 30}, {0, 30}, {1000, 1}});
  plan.build(step.input());
  const auto* shares = plan.shares_of(0).data();
  const Step full({{0, 1}, {1, 1}, {2, 62}});
  plan.build(full.input());
  EXPECT_EQ(plan.shares_of(0).data(), shares);
}

}  // namespace
}  // namespace tessera
