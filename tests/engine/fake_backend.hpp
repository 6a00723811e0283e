// fake_backend.hpp — a Backend without arithmetic that notices every mistake in a step's arrays.
//
// A KV cell remembers which token was written to it, at which position, through which adapter and
// by which of LongRoPE's frequencies.
// The logits of a row are a hash of all cells up to it, so an answer changes if a block is shared
// wrongly, written twice, left unwritten, or computed with another adapter.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.hpp"

namespace tessera {

// A context with this token has NaN for logits. It is never generated.
inline constexpr TokenId kPoison = 0;

class FakeBackend final : public Backend {
 public:
  FakeBackend(int vocab_size, int num_layers, const BackendLimits& limits)
      : limits_(limits),
        num_layers_(num_layers),
        vocab_size_(static_cast<std::size_t>(vocab_size)),
        cells_(static_cast<std::size_t>(limits.num_blocks * limits.block_size)) {
    logits_.resize(vocab_size_ * static_cast<std::size_t>(limits.max_logit_rows));
  }

  // The step after `num_steps` more throws.
  void throw_after(int num_steps) { steps_until_throw_ = num_steps; }
  // The next remove_adapter() throws, and removes nothing.
  void throw_at_removal() { throws_at_removal_ = true; }
  // There is no room for more adapters at a time.
  void refuse_beyond(int num_adapters) { most_adapters_ = num_adapters; }
  int num_adapters() const { return static_cast<int>(adapters_.size()); }

  // KV blocks and adapters share memory: the blocks from `kv_share` on are adapters' at the start,
  // and one adapter fills so many, each of `block_bytes`.
  void share_memory(int kv_share, int blocks_of_adapter, std::size_t block_bytes) {
    blocks_of_adapter_ = blocks_of_adapter;
    block_bytes_ = block_bytes;
    holders_.assign(static_cast<std::size_t>(limits_.num_blocks), kOfKv);
    for (int block = kv_share; block < limits_.num_blocks; ++block) holder(block) = kOfNobody;
  }
  AdapterMemory adapter_memory() const override {
    const auto free = std::ranges::count(holders_, kOfNobody);
    const auto of_kv = std::ranges::count(holders_, kOfKv);
    return {static_cast<std::size_t>(std::ssize(holders_) - of_kv) * block_bytes_,
            static_cast<std::size_t>(free) * block_bytes_};
  }
  void lend_blocks(std::span<const BlockId> blocks) override {
    for (const BlockId block : blocks) {
      EXPECT_EQ(holder(block), kOfKv);
      holder(block) = kOfNobody;
    }
    discard_blocks(blocks);
  }
  void take_blocks(int most, std::vector<BlockId>& blocks) override {
    for (BlockId block = 0; block < limits_.num_blocks && most > 0; ++block) {
      if (holder(block) != kOfNobody) continue;
      holder(block) = kOfKv;
      blocks.push_back(block);
      --most;
    }
  }

  std::string_view name() const override { return "fake"; }
  PageType page_type() const override { return PageType::kF32; }

  AdapterSlot add_adapter(const LoraView& adapter) override {
    if (num_adapters() >= most_adapters_) return kNoAdapter;
    AdapterSlot slot = 0;
    while (adapters_.contains(slot)) ++slot;
    if (!take_memory(slot)) return kNoAdapter;
    adapters_[slot] = fingerprint(adapter);
    return slot;
  }
  void remove_adapter(AdapterSlot slot) override {
    if (std::exchange(throws_at_removal_, false)) throw std::runtime_error("the device is lost");
    ASSERT_EQ(adapters_.erase(slot), 1U);
    std::ranges::replace(holders_, slot, kOfNobody);
  }

  void discard_blocks(std::span<const BlockId> blocks) override {
    for (const BlockId block : blocks) {
      const auto first = cells_.begin() + block * limits_.block_size;
      std::fill(first, first + limits_.block_size, Cell{});
    }
    num_discarded_ += blocks.size();
  }
  std::size_t num_discarded() const { return num_discarded_; }

  void begin(const StepInput& input) override {
    if (steps_until_throw_-- == 0) throw std::runtime_error("the device has fallen off the bus");
    input_ = input;
    stage_ = 1;
    EXPECT_GE(std::ssize(input.tokens), 1);
    EXPECT_LE(std::ssize(input.tokens), limits_.max_rows);
    EXPECT_LE(std::ssize(input.slots), limits_.max_seqs);
    EXPECT_LE(std::ssize(input.head_rows), limits_.max_logit_rows);
    EXPECT_EQ(input.seq_indptr.size(), input.slots.size() + 1);
    EXPECT_EQ(input.block_indptr.size(), input.slots.size() + 1);
    EXPECT_EQ(input.long_rope.size(), input.slots.size());
    EXPECT_EQ(input.lora_start.size(), input.slots.size());
    EXPECT_EQ(input.mix_indptr.size(), input.slots.size() + 1);
  }
  void embed() override {
    expect_stage(1);
    for (std::size_t s = 0; s < input_.slots.size(); ++s) write_cells(s);
  }
  void qkv(int layer) override { expect_stage(2 + 5 * layer); }
  void attention(int layer) override { expect_stage(3 + 5 * layer); }
  void o_proj(int layer) override { expect_stage(4 + 5 * layer); }
  void gate_up(int layer) override { expect_stage(5 + 5 * layer); }
  void down(int layer) override { expect_stage(6 + 5 * layer); }
  void head() override {
    expect_stage(2 + 5 * num_layers_);
    std::size_t next = 0;
    for (std::size_t s = 0; s < input_.slots.size(); ++s) {
      while (next < input_.head_rows.size() && input_.head_rows[next] < input_.seq_indptr[s + 1]) {
        const auto row = static_cast<std::size_t>(input_.head_rows[next]);
        EXPECT_TRUE(next == 0 || input_.head_rows[next - 1] < input_.head_rows[next]);
        fill_logits(next++, s, input_.positions[row]);
      }
    }
    EXPECT_EQ(next, input_.head_rows.size()) << "a head row is none of the step's";
    fill_states();
  }

  std::span<const float> logits(int i) override {
    return std::span(logits_).subspan(static_cast<std::size_t>(i) * vocab_size_, vocab_size_);
  }
  std::span<const float> state(int i) override {
    return std::span(states_).subspan(static_cast<std::size_t>(i) * kStateSize, kStateSize);
  }
  std::span<const float> residual() override { return {}; }

  // Of a state: the position, the token and what the cell's kind is, each as a number.
  static constexpr std::size_t kStateSize = 3;

 private:
  struct Cell {
    TokenId token = -1;
    std::int32_t position = -1;
    std::uint64_t kind = 0;
  };

  static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = (a ^ b) * 0x9E3779B97F4A7C15U + 0xD1B54A32D192ED03U;
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9U;
    return x ^ (x >> 32);
  }

  static std::uint64_t fingerprint(const LoraView& adapter) {
    std::uint64_t hash = 1;
    for (const auto& layer : adapter.layers) {
      for (const LoraModule& module : layer.linears) {
        hash = mix(hash, static_cast<std::uint64_t>(module.rank));
        if (module) hash = mix(hash, static_cast<std::uint64_t>(module.a[1]));
      }
    }
    return hash;
  }

  // Of a block, where memory is shared: KV, nobody, or the adapter in this slot.
  static constexpr AdapterSlot kOfKv = -2;
  static constexpr AdapterSlot kOfNobody = -1;
  AdapterSlot& holder(BlockId block) { return holders_.at(static_cast<std::size_t>(block)); }

  bool take_memory(AdapterSlot slot) {
    if (std::ranges::count(holders_, kOfNobody) < blocks_of_adapter_) return false;
    for (int i = 0; i < blocks_of_adapter_; ++i) {
      *std::ranges::find(holders_, kOfNobody) = slot;
    }
    return true;
  }

  void expect_stage(int stage) { EXPECT_EQ(stage_++, stage) << "stages out of order"; }

  Cell& cell(std::size_t sequence, std::int32_t position) {
    const auto index = input_.block_indptr[sequence] + position / limits_.block_size;
    EXPECT_LT(index, input_.block_indptr[sequence + 1]) << "position without a block";
    const BlockId block = input_.blocks[static_cast<std::size_t>(index)];
    EXPECT_TRUE(holders_.empty() || holder(block) == kOfKv) << "a block that is adapters'";
    return cells_.at(
        static_cast<std::size_t>(block * limits_.block_size + position % limits_.block_size));
  }

  // What a sequence's keys depend on besides its tokens: its adapters, where they apply, and its
  // rotation.
  std::uint64_t kind_of(std::size_t sequence, std::int32_t position) const {
    const std::uint64_t adapter =
        position < input_.lora_start[sequence] ? 0 : adapters_of(sequence);
    return input_.long_rope[sequence] == 0 ? adapter : mix(adapter, 1);
  }

  std::uint64_t adapters_of(std::size_t sequence) const {
    const AdapterSlot slot = input_.slots[sequence];
    const auto first = static_cast<std::size_t>(input_.mix_indptr[sequence]);
    const auto last = static_cast<std::size_t>(input_.mix_indptr[sequence + 1]);
    if (first == last) return slot == kNoAdapter ? 0 : adapters_.at(slot);
    EXPECT_EQ(slot, kNoAdapter) << "a sequence that mixes has an adapter of its own";
    std::uint64_t hash = 2;
    for (const MixTerm& term : input_.mixes.subspan(first, last - first)) {
      hash = mix(mix(hash, adapters_.at(term.slot)), std::bit_cast<std::uint32_t>(term.weight));
    }
    return hash;
  }

  void write_cells(std::size_t sequence) {
    const auto first = static_cast<std::size_t>(input_.seq_indptr[sequence]);
    const auto last = static_cast<std::size_t>(input_.seq_indptr[sequence + 1]);
    for (std::size_t row = first; row < last; ++row) {
      EXPECT_EQ(input_.positions[row],
                input_.positions[first] + static_cast<std::int32_t>(row - first));
      cell(sequence, input_.positions[row]) = {input_.tokens[row], input_.positions[row],
                                               kind_of(sequence, input_.positions[row])};
    }
  }

  void fill_states() {
    states_.clear();
    for (const std::int32_t row : input_.state_rows) {
      const auto after = std::ranges::upper_bound(input_.seq_indptr, row);
      const auto sequence = static_cast<std::size_t>(after - input_.seq_indptr.begin() - 1);
      const std::int32_t position = input_.positions[static_cast<std::size_t>(row)];
      const Cell& read = cell(sequence, position);
      states_.push_back(static_cast<float>(read.position));
      states_.push_back(static_cast<float>(read.token));
      states_.push_back(static_cast<float>(read.kind % 1024));
    }
  }

  void fill_logits(std::size_t row, std::size_t sequence, std::int32_t last_position) {
    std::uint64_t hash = 0;
    bool poisoned = false;
    for (std::int32_t position = 0; position <= last_position; ++position) {
      const Cell& read = cell(sequence, position);
      EXPECT_EQ(read.position, position) << "a cell holds something else";
      EXPECT_EQ(read.kind, kind_of(sequence, position))
          << "a cell was written by another kind of sequence";
      hash = mix(mix(hash, static_cast<std::uint64_t>(read.token)), read.kind);
      poisoned |= read.token == kPoison;
    }
    for (std::size_t id = 0; id < vocab_size_; ++id) {
      const double unit = static_cast<double>(mix(hash, id) >> 11) * 0x1p-53;
      logits_[row * vocab_size_ + id] = poisoned ? std::nanf("") : static_cast<float>(8.0 * unit);
    }
    if (!poisoned) logits_[row * vocab_size_] = -std::numeric_limits<float>::infinity();
  }

  BackendLimits limits_;
  int num_layers_;
  std::size_t vocab_size_;
  int stage_ = 0;
  int steps_until_throw_ = -1;
  bool throws_at_removal_ = false;
  int most_adapters_ = std::numeric_limits<int>::max();
  std::size_t num_discarded_ = 0;
  std::vector<AdapterSlot> holders_;  // of each block; empty: nothing is shared
  int blocks_of_adapter_ = 0;
  std::size_t block_bytes_ = 0;
  StepInput input_;
  std::vector<Cell> cells_;  // (num_blocks * block_size,)
  std::vector<float> logits_;
  std::vector<float> states_;  // (state rows, kStateSize)
  std::map<AdapterSlot, std::uint64_t> adapters_;
};

}  // namespace tessera
