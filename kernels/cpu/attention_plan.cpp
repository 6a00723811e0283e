#include "kernels/cpu/attention_plan.hpp"

#include <algorithm>
#include <cassert>

#include "kernels/cpu/kv_layout.hpp"

namespace tessera {
namespace {

// A power of two, so that tiles that begin at its multiples do not straddle two parts.
int tile_rows(int group) {
  int rows = 1;
  while (2 * rows * group <= kMaxQueries) rows *= 2;
  return rows;
}

std::size_t area(int a, int b) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
}

}  // namespace

AttentionPlan::AttentionPlan(int max_rows, int group, int num_kv_heads, int num_threads,
                             int max_records, int window)
    : group_(group),
      num_kv_heads_(num_kv_heads),
      num_threads_(num_threads),
      max_records_(max_records),
      window_(window),
      tile_rows_(tile_rows(group)),
      first_share_(static_cast<std::size_t>(num_threads) + 1) {
  tiles_.reserve(static_cast<std::size_t>(max_rows));
  shares_.reserve(area(max_rows, num_kv_heads) + static_cast<std::size_t>(num_threads));
  divided_.reserve(static_cast<std::size_t>(num_threads));
}

void AttentionPlan::build(const StepInput& input) {
  tiles_.clear();
  total_cost_ = 0;
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    add_tiles(input, static_cast<std::int32_t>(seq));
  }
  shares_.clear();
  divided_.clear();
  cost_before_ = 0;
  num_begun_ = 0;
  for (std::size_t first = 0; first < tiles_.size();) {
    std::size_t last = first;
    while (last < tiles_.size() && tiles_[last].seq == tiles_[first].seq) ++last;
    for (int kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
      for (std::size_t tile = first; tile < last; ++tile) {
        deal_item(static_cast<std::int32_t>(tile), kv_head);
      }
    }
    first = last;
  }
  begin_threads_until(num_threads_);
}

void AttentionPlan::add_tiles(const StepInput& input, std::int32_t seq) {
  const int end = input.seq_indptr[static_cast<std::size_t>(seq) + 1];
  const auto position = [&](int row) { return input.positions[static_cast<std::size_t>(row)]; };
  for (int row = input.seq_indptr[static_cast<std::size_t>(seq)]; row < end;) {
    const int first = row++;
    while (row < end && position(row) == position(row - 1) + 1 &&
           position(row) / tile_rows_ == position(first) / tile_rows_) {
      ++row;
    }
    AttentionTile& tile = tiles_.emplace_back();
    tile = {seq,
            first,
            row - first,
            position(first),
            beginning_of(position(first)) / kAttentionSplit,
            position(row - 1) / kAttentionSplit + 1};
    total_cost_ += num_kv_heads_ * cost(tile);
  }
}

// The first position that the row at `position` attends to.
int AttentionPlan::beginning_of(int position) const {
  return window_ > 0 ? std::max(0, position + 1 - window_) : 0;
}

// Of parts [first, last): positions times rows, and one more for reading them.
std::int64_t AttentionPlan::cost(const AttentionTile& tile, int first, int last) const {
  if (first == last) return 0;
  const int end = std::min(last * kAttentionSplit, tile.first_position + tile.num_rows);
  const std::int64_t positions =
      end - std::max(first * kAttentionSplit, beginning_of(tile.first_position));
  return positions * (tile.num_rows + 1);
}

// The thread whose piece the middle of a part lies in.
int AttentionPlan::thread_of(const AttentionTile& tile, int part) const {
  const std::int64_t middle =
      2 * (cost_before_ + cost(tile, tile.first_part, part)) + cost(tile, part, part + 1);
  return static_cast<int>(middle * num_threads_ / (2 * total_cost_));
}

void AttentionPlan::deal_item(std::int32_t index, std::int32_t kv_head) {
  const AttentionTile& tile = tiles_[static_cast<std::size_t>(index)];
  const int first_thread = thread_of(tile, tile.first_part);
  const bool is_divided = thread_of(tile, tile.end_part - 1) != first_thread &&
                          tile.num_rows * group_ * tile.num_parts() <= max_records_;
  begin_threads_until(first_thread + 1);
  shares_.push_back({index, kv_head, tile.first_part, tile.end_part, kNoRecords});
  if (is_divided) divide_last_share(tile);
  cost_before_ += cost(tile);
}

void AttentionPlan::divide_last_share(const AttentionTile& tile) {
  shares_.back().records = static_cast<std::int32_t>(divided_.size());
  divided_.push_back(shares_.back());
  for (int part = tile.first_part + 1; part < tile.end_part; ++part) {
    const int thread = thread_of(tile, part);
    if (thread < num_begun_) continue;
    const AttentionShare rest = {shares_.back().tile, shares_.back().kv_head, part, tile.end_part,
                                 shares_.back().records};
    shares_.back().last_part = part;
    begin_threads_until(thread + 1);
    shares_.push_back(rest);
  }
}

// Threads up to this one have the shares from here on.
void AttentionPlan::begin_threads_until(int thread) {
  for (; num_begun_ < thread; ++num_begun_) {
    first_share_[static_cast<std::size_t>(num_begun_)] = shares_.size();
  }
  first_share_.back() = shares_.size();
}

std::span<const AttentionShare> AttentionPlan::shares_of(int thread) const {
  const std::size_t first = first_share_[static_cast<std::size_t>(thread)];
  return std::span(shares_).subspan(first,
                                    first_share_[static_cast<std::size_t>(thread) + 1] - first);
}

}  // namespace tessera
