#include "kernels/cuda/step_arena.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>

namespace tessera {
namespace {

constexpr std::size_t kAlignment = 256;

template <class T>
T* at(std::byte* base, std::size_t offset) {
  return reinterpret_cast<T*>(base + offset);
}

template <class T>
void write(std::byte* to, std::span<const T> values) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size_bytes());
}

}  // namespace

StepArena::Offsets StepArena::lay_out(const BackendLimits& limits, std::size_t max_blocks) {
  std::size_t next = 0;
  const auto part = [&](std::size_t count, std::size_t size) {
    const std::size_t here = next;
    next += (count * size + kAlignment - 1) / kAlignment * kAlignment;
    return here;
  };
  const auto rows = static_cast<std::size_t>(limits.max_rows);
  const auto seqs = static_cast<std::size_t>(limits.max_seqs);
  Offsets offsets{};
  offsets.counts = part(1, sizeof(StepCounts));
  offsets.state_counts = part(1, sizeof(StepCounts));
  offsets.tokens = part(rows, 4);
  offsets.positions = part(rows, 4);
  offsets.seq_of_row = part(rows, 4);
  offsets.seq_indptr = part(seqs + 1, 4);
  offsets.block_indptr = part(seqs + 1, 4);
  offsets.head_rows = part(static_cast<std::size_t>(limits.max_logit_rows), 4);
  offsets.state_rows = part(rows, 4);
  offsets.long_rope = part(seqs, 4);
  offsets.terms = part(rows * kMaxMixTerms, sizeof(MixTerm));
  offsets.blocks = part(max_blocks, 4);  // last: only as many as there are are copied
  offsets.end = next;
  return offsets;
}

StepArena::StepArena(const BackendLimits& limits, std::size_t max_blocks)
    : limits_(limits),
      max_blocks_(max_blocks),
      at_(lay_out(limits, max_blocks)),
      on_device_(at_.end) {
  for (Side& side : sides_) side.memory = PinnedBuffer<std::byte>(at_.end);
  std::byte* base = on_device_.data();
  device_.counts = at<StepCounts>(base, at_.counts);
  device_.tokens = at<TokenId>(base, at_.tokens);
  device_.positions = at<std::int32_t>(base, at_.positions);
  device_.seq_of_row = at<std::int32_t>(base, at_.seq_of_row);
  device_.seq_indptr = at<std::int32_t>(base, at_.seq_indptr);
  device_.block_indptr = at<std::int32_t>(base, at_.block_indptr);
  device_.head_rows = at<std::int32_t>(base, at_.head_rows);
  device_.long_rope = at<std::int32_t>(base, at_.long_rope);
  device_.terms = at<MixTerm>(base, at_.terms);
  device_.blocks = at<BlockId>(base, at_.blocks);
  device_of_states_ = device_;
  device_of_states_.counts = at<StepCounts>(base, at_.state_counts);
  device_of_states_.head_rows = at<std::int32_t>(base, at_.state_rows);
  used_slots_.reserve(static_cast<std::size_t>(limits.max_seqs) * kMaxMixTerms);
}

void StepArena::check(const StepInput& input) const {
  const auto most = [](int limit) { return static_cast<std::size_t>(limit); };
  if (input.tokens.size() > most(limits_.max_rows) || input.slots.size() > most(limits_.max_seqs) ||
      input.head_rows.size() > most(limits_.max_logit_rows) ||
      input.state_rows.size() > most(limits_.max_rows) || input.blocks.size() > max_blocks_) {
    throw std::length_error("a step beyond the backend's limits");
  }
}

void StepArena::use(AdapterSlot slot) {
  if (std::find(used_slots_.begin(), used_slots_.end(), slot) == used_slots_.end()) {
    used_slots_.push_back(slot);
  }
}

// The adapters of one row of a sequence; those that it has not end with kNoAdapter.
void StepArena::write_terms(const StepInput& input, std::size_t seq, std::size_t row,
                            MixTerm* terms) {
  std::fill_n(terms, kMaxMixTerms, MixTerm{});
  if (!input.lora_start.empty() && input.positions[row] < input.lora_start[seq]) return;
  std::span<const MixTerm> mix;
  if (!input.mixes.empty()) {
    const auto first = static_cast<std::size_t>(input.mix_indptr[seq]);
    const auto last = static_cast<std::size_t>(input.mix_indptr[seq + 1]);
    mix = input.mixes.subspan(first, last - first);
  }
  if (mix.empty() && input.slots[seq] != kNoAdapter) *terms = {input.slots[seq], 1.0F};
  std::copy(mix.begin(), mix.end(), terms);
  for (int i = 0; i < kMaxMixTerms && terms[i].slot != kNoAdapter; ++i) use(terms[i].slot);
}

void StepArena::write_rows(const StepInput& input, std::byte* to) {
  auto* seq_of_row = at<std::int32_t>(to, at_.seq_of_row);
  auto* long_rope = at<std::int32_t>(to, at_.long_rope);
  auto* terms = at<MixTerm>(to, at_.terms);
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    long_rope[seq] = input.long_rope.empty() ? 0 : input.long_rope[seq];
    const auto end = static_cast<std::size_t>(input.seq_indptr[seq + 1]);
    for (auto row = static_cast<std::size_t>(input.seq_indptr[seq]); row < end; ++row) {
      seq_of_row[row] = static_cast<std::int32_t>(seq);
      write_terms(input, seq, row, terms + row * kMaxMixTerms);
    }
  }
}

void StepArena::send(const StepInput& input, CudaStream& stream) {
  check(input);
  Side& side = sides_[side_];
  side_ = 1 - side_;
  side.sent.synchronize();
  std::byte* to = side.memory.data();
  used_slots_.clear();
  num_rows_ = static_cast<int>(input.tokens.size());
  num_head_rows_ = static_cast<int>(input.head_rows.size());
  num_state_rows_ = static_cast<int>(input.state_rows.size());
  const auto seqs = static_cast<std::int32_t>(input.slots.size());
  *at<StepCounts>(to, at_.counts) = {num_rows_, seqs, num_head_rows_};
  *at<StepCounts>(to, at_.state_counts) = {num_rows_, seqs, num_state_rows_};
  write(to + at_.tokens, input.tokens);
  write(to + at_.positions, input.positions);
  write(to + at_.seq_indptr, input.seq_indptr);
  write(to + at_.block_indptr, input.block_indptr);
  write(to + at_.head_rows, input.head_rows);
  write(to + at_.state_rows, input.state_rows);
  write(to + at_.blocks, input.blocks);
  write_rows(input, to);
  stream.copy_to_device(on_device_.data(), to, at_.blocks + input.blocks.size_bytes());
  stream.record(side.sent);
}

}  // namespace tessera
