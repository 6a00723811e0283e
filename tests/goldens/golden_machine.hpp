// golden_machine.hpp — the backends that goldens are held against, and one sequence on one of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/model/forward.hpp"
#include "kernels/backend.hpp"

namespace tessera::goldens {

using Tokens = std::vector<TokenId>;
using Row = std::vector<float>;

struct Machine {
  std::string name;  // "reference", or the CPU path to force
  double tolerance;
};
inline void PrintTo(const Machine& machine, std::ostream* out) {
  *out << machine.name;
}
inline const std::vector<Machine> kMachines = {{"reference", 1e-4},  {"portable", 1e-2},
                                               {"avx2", 1e-2},       {"avx512", 1e-2},
                                               {"avx512vnni", 1e-2}, {"amx", 1e-2}};

// Null if this processor does not have it.
inline std::unique_ptr<Backend> make_backend(const Machine& machine, const ModelWeights& weights,
                                             const BackendLimits& limits) {
  if (machine.name == "reference") return make_reference_backend(weights, limits);
  try {
    return make_cpu_backend(weights, limits, machine.name);
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

// One sequence, which has all of a backend's blocks.
class Sequence {
 public:
  // `lora_start` is the first position at which the adapter applies.
  Sequence(Backend& backend, const ModelSpec& spec, const BackendLimits& limits, AdapterSlot slot,
           bool long_rope = false, std::int32_t lora_start = 0)
      : backend_(backend),
        spec_(spec),
        limits_(limits),
        slots_{slot},
        long_rope_{static_cast<std::uint8_t>(long_rope)},
        lora_start_{lora_start},
        blocks_(static_cast<std::size_t>(limits.num_blocks)) {
    std::iota(blocks_.rbegin(), blocks_.rend(), 0);  // the pool's order must not matter
  }

  // Appends `tokens`, in one step if that holds them; the logits of the last `kept` of them.
  std::vector<Row> extend(const Tokens& tokens, int kept) {
    const auto most = static_cast<std::size_t>(limits_.max_rows);
    std::span<const TokenId> left(tokens);
    while (left.size() > most) {
      run(left.first(most), 0);
      left = left.subspan(most);
    }
    return run(left, kept);
  }

  // Appends `tokens`, which one step holds; the final state of each of them.
  std::vector<Row> extend_for_states(const Tokens& tokens) {
    run(tokens, 1, true);
    std::vector<Row> rows;
    for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
      const auto state = backend_.state(i);
      rows.emplace_back(state.begin(), state.end());
    }
    return rows;
  }

 private:
  std::vector<Row> run(std::span<const TokenId> tokens, int kept, bool with_states = false) {
    const int count = static_cast<int>(tokens.size());
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), length_);
    std::vector<std::int32_t> head_rows(static_cast<std::size_t>(kept));
    std::iota(head_rows.begin(), head_rows.end(), count - kept);
    std::vector<std::int32_t> state_rows(with_states ? tokens.size() : 0);
    std::iota(state_rows.begin(), state_rows.end(), 0);
    length_ += count;
    const std::vector<std::int32_t> seq_indptr = {0, count};
    const std::vector<std::int32_t> block_indptr = {0, static_cast<std::int32_t>(blocks_.size())};
    run_forward(backend_, spec_.num_layers(),
                {.tokens = tokens,
                 .positions = positions,
                 .seq_indptr = seq_indptr,
                 .blocks = blocks_,
                 .block_indptr = block_indptr,
                 .slots = slots_,
                 .head_rows = head_rows,
                 .long_rope = long_rope_,
                 .lora_start = lora_start_,
                 .state_rows = state_rows});
    std::vector<Row> rows;
    for (int i = 0; i < kept; ++i) {
      const auto logits = backend_.logits(i);
      rows.emplace_back(logits.begin(), logits.end());
    }
    return rows;
  }

  Backend& backend_;
  const ModelSpec& spec_;
  BackendLimits limits_;
  std::vector<AdapterSlot> slots_;
  std::vector<std::uint8_t> long_rope_;
  std::vector<std::int32_t> lora_start_;
  std::vector<BlockId> blocks_;
  std::int32_t length_ = 0;
};

// max |a - b| / max |b|; not a number if one of `ours` is none.
inline double relative_error(std::span<const float> ours, std::span<const float> golden) {
  EXPECT_EQ(ours.size(), golden.size());
  double difference = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < std::min(ours.size(), golden.size()); ++i) {
    const double off = std::abs(static_cast<double>(ours[i]) - static_cast<double>(golden[i]));
    if (!(off <= difference)) difference = off;  // keeps a NaN
    scale = std::max(scale, std::abs(static_cast<double>(golden[i])));
  }
  return difference / scale;
}

}  // namespace tessera::goldens
