// attention_kernels.hpp — causal attention of one row over the pages of its sequence.
//
// The query heads of one KV head are taken up to four at a time, so that each key and value is
// loaded once for them. The context is cut at multiples of kAttentionSplit positions; a part yields
// its largest score m, the sum l of exp(score - m) and the sum o of exp(score - m) * value, and the
// parts are joined in ascending order (Milakov & Gimelshein, 2018; FlashAttention, Dao et al.,
// 2022). Positions past the context are never multiplied, not even by zero: a freed block may hold
// anything, another tenant's values included.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/row_kernels.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

inline constexpr int kMaxHeadsTogether = 4;

template <class V>
void store_kv(const KvLayout& layout, const float* key, const float* value,
              std::uint16_t* head_block, int offset) {
  const auto largest = V::set(65504.0F);
  const auto smallest = V::set(-65504.0F);
  const auto dim = static_cast<std::size_t>(layout.head_dim);
  const auto position = static_cast<std::size_t>(offset);
  std::uint16_t* keys = head_block + position / kLanes * dim * kLanes + position % kLanes;
  std::uint16_t* values =
      head_block + layout.keys_elements + position * static_cast<std::size_t>(layout.value_stride);
  for (int i = 0; i < layout.head_dim; i += kLanes) {
    const int count = layout.head_dim - i < kLanes ? layout.head_dim - i : kLanes;
    const auto v = V::load_first(value + i, count);
    V::store_f16(values + i, V::max(smallest, V::min(largest, v)));
    std::uint16_t halves[kLanes];
    const auto k = V::load_first(key + i, count);
    V::store_f16(halves, V::max(smallest, V::min(largest, k)));
    for (int j = 0; j < count; ++j) keys[(i + j) * kLanes] = halves[j];
  }
}

// The state of kHeads query heads: what the parts so far have come to.
template <class V, std::size_t kHeads>
class Attention {
 public:
  using Float = typename V::Float;

  Attention(const KvLayout& layout, const AttendTask& task, int first_head)
      : layout_(layout),
        task_(task),
        head_dim_(static_cast<std::size_t>(layout.head_dim)),
        query_(task.query + first_head * layout.head_dim),
        output_(task.output + first_head * layout.head_dim) {}

  void run() {
    for (int begin = 0; begin < task_.context; begin += kAttentionSplit) {
      const int left = task_.context - begin;
      attend_part(begin, left < kAttentionSplit ? left : kAttentionSplit);
    }
    write_output();
  }

 private:
  void attend_part(int begin, int count) {
    for (int at = 0; at < count; at += layout_.block_size) {
      const std::uint16_t* keys = head_block(begin + at);
      const int in_block = count - at < layout_.block_size ? count - at : layout_.block_size;
      for (int tile = 0; tile < in_block; tile += kLanes)
        score(keys + tile * layout_.head_dim, at + tile);
    }
    float part_largest[kHeads];
    float part_sum[kHeads];
    for (std::size_t h = 0; h < kHeads; ++h)
      softmax(scores_[h], count, part_largest[h], part_sum[h]);
    for (int i = 0; i < layout_.value_stride; i += kLanes) sum_values(begin, count, i);
    for (std::size_t h = 0; h < kHeads; ++h) join(h, begin == 0, part_largest[h], part_sum[h]);
  }

  const std::uint16_t* head_block(int position) const {
    const auto block = static_cast<std::size_t>(task_.blocks[position / layout_.block_size]);
    return task_.layer + block * layout_.block_elements +
           static_cast<std::size_t>(task_.kv_head) * layout_.head_elements;
  }

  // The scores of sixteen positions: keys (head_dim, 16). Lanes past the block are garbage, and
  // overwritten by the next block or left out by softmax.
  void score(const std::uint16_t* keys, int at) {
    Float sum[kHeads];
    TESSERA_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) sum[h] = V::zero();
    for (int i = 0; i < layout_.head_dim; ++i) {
      const Float key = V::load_f16(keys + i * kLanes);
      TESSERA_UNROLL
      for (std::size_t h = 0; h < kHeads; ++h) {
        sum[h] = V::fma(key, V::set(query_[h * head_dim_ + static_cast<std::size_t>(i)]), sum[h]);
      }
    }
    TESSERA_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) {
      V::store(scores_[h] + at, V::mul(sum[h], V::set(task_.scale)));
    }
  }

  // scores -> exp(scores - largest), and their sum.
  static void softmax(float* scores, int count, float& largest, float& sum) {
    const auto lowest = V::set(-3.4028234e38F);
    Float greatest = lowest;
    for (int i = 0; i < count; i += kLanes) {
      greatest = V::max(greatest, V::first_of(V::load(scores + i), lowest, count - i));
    }
    largest = V::largest(greatest);
    Float total = V::zero();
    for (int i = 0; i < count; i += kLanes) {
      const Float e = exponential<V>(V::sub(V::load(scores + i), V::set(largest)));
      V::store(scores + i, e);
      total = V::add(total, V::first_of(e, V::zero(), count - i));
    }
    sum = V::sum(total);
  }

  // part_[h][i .. i + 16) = sum over the part's positions of weight * value
  void sum_values(int begin, int count, int i) {
    Float sum[kHeads];
    TESSERA_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) sum[h] = V::zero();
    for (int at = 0; at < count; at += layout_.block_size) {
      const std::uint16_t* values = head_block(begin + at) + layout_.keys_elements + i;
      const int in_block = count - at < layout_.block_size ? count - at : layout_.block_size;
      for (int j = 0; j < in_block; ++j) {
        const Float value = V::load_f16(values + j * layout_.value_stride);
        TESSERA_UNROLL
        for (std::size_t h = 0; h < kHeads; ++h)
          sum[h] = V::fma(value, V::set(scores_[h][at + j]), sum[h]);
      }
    }
    TESSERA_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) V::store(part_[h] + i, sum[h]);
  }

  void join(std::size_t h, bool is_first, float part_largest, float part_sum) {
    if (is_first) {
      largest_[h] = part_largest;
      sum_[h] = part_sum;
      for (int i = 0; i < layout_.value_stride; i += kLanes)
        V::store(total_[h] + i, V::load(part_[h] + i));
      return;
    }
    const float largest = part_largest > largest_[h] ? part_largest : largest_[h];
    const Float keep = exponential<V>(V::set(largest_[h] - largest));
    const Float take = exponential<V>(V::set(part_largest - largest));
    largest_[h] = largest;
    sum_[h] = V::first(V::fma(V::set(sum_[h]), keep, V::mul(V::set(part_sum), take)));
    for (int i = 0; i < layout_.value_stride; i += kLanes) {
      const Float taken = V::mul(V::load(part_[h] + i), take);
      V::store(total_[h] + i, V::fma(V::load(total_[h] + i), keep, taken));
    }
  }

  void write_output() {
    for (std::size_t h = 0; h < kHeads; ++h) {
      const Float sum = V::set(sum_[h]);
      float* output = output_ + h * head_dim_;
      for (int i = 0; i < layout_.head_dim; i += kLanes) {
        const int left = layout_.head_dim - i;
        V::store_first(output + i, V::div(V::load(total_[h] + i), sum),
                       left < kLanes ? left : kLanes);
      }
    }
  }

  const KvLayout& layout_;
  const AttendTask& task_;
  const std::size_t head_dim_;
  const float* query_;  // (kHeads, head_dim)
  float* output_;       // (kHeads, head_dim)
  float largest_[kHeads];
  float sum_[kHeads];
  alignas(64) float scores_[kHeads][kAttentionSplit + kLanes];
  alignas(64) float part_[kHeads][kMaxHeadDim];
  alignas(64) float total_[kHeads][kMaxHeadDim];
};

template <class V>
void attend(const KvLayout& layout, const AttendTask& task) {
  int head = 0;
  for (; head + kMaxHeadsTogether <= task.group; head += kMaxHeadsTogether) {
    Attention<V, kMaxHeadsTogether>(layout, task, head).run();
  }
  for (; head + 2 <= task.group; head += 2) Attention<V, 2>(layout, task, head).run();
  if (head < task.group) Attention<V, 1>(layout, task, head).run();
}

}  // namespace tessera
