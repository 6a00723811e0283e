// attention_plan.hpp — who computes which part of a step's attention.
//
// A step's rows make tiles, adjacent rows of one sequence that go through its keys and values
// together. A tile and a KV head are an item; items are put in a line, for each sequence by head
// and then by position, so that neighbours read the same keys, and the line is cut into as many
// pieces of equal cost as there are threads. A cut may fall within an item, between two parts of
// its context: its threads then leave records, which are joined after all have finished. So one
// long sequence keeps all threads busy. Where the cuts fall changes no bit (attention_kernels.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.hpp"

namespace tessera {

// Adjacent rows of consecutive positions that lie in one part of the context.
struct AttentionTile {
  std::int32_t seq;
  std::int32_t first_row;
  std::int32_t num_rows;
  std::int32_t first_position;
  // The parts of the context, cut at kAttentionSplit positions, that the rows attend to.
  std::int32_t first_part;
  std::int32_t end_part;

  int num_parts() const { return end_part - first_part; }
};

// One thread's share of an item: parts [first_part, last_part) of the context.
struct AttentionShare {
  std::int32_t tile;
  std::int32_t kv_head;
  std::int32_t first_part;
  std::int32_t last_part;
  std::int32_t records;  // where the item's records go, or kNoRecords: it is the whole item
};
inline constexpr std::int32_t kNoRecords = -1;

// Rebuilt for every step; allocates nothing then.
class AttentionPlan {
 public:
  // `group` query heads share one of `num_kv_heads`. An item has room for the records of
  // max_records queries and parts. With a window, a row attends to that many positions, its own
  // among them; 0: to all before.
  AttentionPlan(int max_rows, int group, int num_kv_heads, int num_threads, int max_records,
                int window = 0);

  void build(const StepInput& input);

  const AttentionTile& tile(const AttentionShare& share) const {
    return tiles_[static_cast<std::size_t>(share.tile)];
  }
  std::span<const AttentionShare> shares_of(int thread) const;
  // The items that several threads share, as the first of their shares: at most num_threads - 1.
  std::span<const AttentionShare> divided() const { return divided_; }
  int window() const { return window_; }

 private:
  void add_tiles(const StepInput& input, std::int32_t seq);
  int beginning_of(int position) const;
  std::int64_t cost(const AttentionTile& tile, int first_part, int last_part) const;
  std::int64_t cost(const AttentionTile& tile) const {
    return cost(tile, tile.first_part, tile.end_part);
  }
  int thread_of(const AttentionTile& tile, int part) const;
  void deal_item(std::int32_t tile, std::int32_t kv_head);
  void divide_last_share(const AttentionTile& tile);
  void begin_threads_until(int thread);

  const int group_;
  const int num_kv_heads_;
  const int num_threads_;
  const int max_records_;
  const int window_;
  const int tile_rows_;
  std::vector<AttentionTile> tiles_;
  std::vector<AttentionShare> shares_;    // in order of their threads
  std::vector<std::size_t> first_share_;  // (num_threads + 1,) of each thread
  std::vector<AttentionShare> divided_;
  // While dealing.
  std::int64_t total_cost_ = 0;
  std::int64_t cost_before_ = 0;  // of the items dealt so far
  int num_begun_ = 0;             // threads that have had their first share, or will have none
};

}  // namespace tessera
