// attention_kernels.hpp — causal attention of a few adjacent rows over the pages of their sequence.
//
// A tile is up to kMaxQueries queries: the query heads that share a KV head, of adjacent rows of
// one sequence. Each key and value is read from the cache once for the tile, and converted once for
// as many queries as fit into registers. The context is cut at multiples of kAttentionSplit
// positions; a part yields, for each query, its largest score m, the sum l of exp(score - m) and
// the sum o of exp(score - m) * value, and the parts are joined in ascending order (Milakov &
// Gimelshein, 2018; FlashAttention, Dao et al., 2022).
//
// P2: every sum of a query is taken over its own positions in ascending order, so it is the same
// alone and in any tile. A tile's rows end at different positions. What lies past a query's own end
// may be a score that is left out, but is never multiplied into its sums, not even by zero: a freed
// block may hold anything, another tenant's values included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/row_kernels.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

// How a cache's elements become fp32, for KvForm::kF16 and kInt8. Indices count elements.
template <class V>
struct HalfCache {
  static constexpr bool kHasScales = false;
  static constexpr std::size_t kBytes = 2;
  static typename V::Float load(const std::byte* p) {
    return V::load_f16(reinterpret_cast<const std::uint16_t*>(p));
  }
};
template <class V>
struct IntegerCache {
  static constexpr bool kHasScales = true;
  static constexpr std::size_t kBytes = 1;
  static typename V::Float load(const std::byte* p) {
    return V::load_int8(reinterpret_cast<const std::int8_t*>(p));
  }
};

// Where one position's key, value and their scales are within a head's part of a block. The
// elements of a key are kLanes apart.
template <class V, class Element>
struct KvPlace {
  const KvLayout& layout;
  std::byte* head_block;
  int offset;  // of the position within the block

  Element* key() const {
    return reinterpret_cast<Element*>(head_block) + offset / kLanes * layout.head_dim * kLanes +
           offset % kLanes;
  }
  Element* value() const {
    return reinterpret_cast<Element*>(head_block + layout.values) + offset * layout.value_stride;
  }
  float* key_scale() const {
    return reinterpret_cast<float*>(head_block + layout.key_scales) + offset;
  }
  float* value_scale() const {
    return reinterpret_cast<float*>(head_block + layout.value_scales) + offset;
  }
};

template <class V>
void store_half_kv(const KvLayout& layout, const float* key, const float* value,
                   std::byte* head_block, int offset) {
  const auto largest = V::set(65504.0F);
  const auto smallest = V::set(-65504.0F);
  const KvPlace<V, std::uint16_t> place{layout, head_block, offset};
  std::uint16_t* keys = place.key();
  std::uint16_t* values = place.value();
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

// Writes `count` elements, `stride` apart, as integers of the scale that it returns. A NaN or an
// infinity makes the scale NaN, so that the sequence it belongs to does not take it for a number.
template <class V>
float store_integers(const float* x, int count, std::int8_t* y, int stride) {
  auto largest = V::zero();
  auto not_finite = V::zero();  // or NaN
  for (int i = 0; i < count; i += kLanes) {
    const auto v = V::load_first(x + i, count - i < kLanes ? count - i : kLanes);
    largest = V::max(largest, V::max(v, V::sub(V::zero(), v)));
    not_finite = V::fma(v, V::zero(), not_finite);
  }
  const float magnitude = V::largest(largest);
  const auto factor = V::set(magnitude > 1e-30F ? 127.0F / magnitude : 0.0F);
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low byte.
  const auto magic = V::set(12582912.0F);
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = count - i < kLanes ? count - i : kLanes;
    float rounded[kLanes];
    V::store(rounded, V::fma(V::load_first(x + i, lanes), factor, magic));
    std::uint32_t words[kLanes];
    std::memcpy(words, rounded, sizeof(words));
    for (int j = 0; j < lanes; ++j) y[(i + j) * stride] = static_cast<std::int8_t>(words[j]);
  }
  return magnitude / 127.0F + V::sum(not_finite);
}

template <class V>
void store_kv(const KvLayout& layout, const float* key, const float* value, std::byte* head_block,
              int offset) {
  if (!layout.has_scales) {
    store_half_kv<V>(layout, key, value, head_block, offset);
    return;
  }
  const KvPlace<V, std::int8_t> place{layout, head_block, offset};
  *place.key_scale() = store_integers<V>(key, layout.head_dim, place.key(), kLanes);
  *place.value_scale() = store_integers<V>(value, layout.head_dim, place.value(), 1);
}

// The state of a tile's queries: what the parts so far have come to. Query q is head q % group of
// row q / group. A record is what a part comes to for one query: o (value_stride), m, l.
template <class V, class Cache>
class TileAttention {
 public:
  using Float = typename V::Float;

  TileAttention(const KvLayout& layout, const AttendTask& task)
      : layout_(layout),
        task_(task),
        num_queries_(task.num_rows * task.group),
        record_floats_(layout.record_floats) {}

  void attend() {
    pack_queries();
    compute(0, total_);
    for (int part = 1; part < num_parts(); ++part) {
      compute(part, part_);
      join(part_);
    }
    write_output();
  }

  // Parts [first, last), each into records (num_queries) of its own.
  void attend_parts(int first, int last, float* records, std::size_t part_floats) {
    pack_queries();
    for (int part = first; part < last; ++part) {
      compute(part, records + static_cast<std::size_t>(part) * part_floats);
    }
  }

  // What attend() would have written, of all parts' records.
  void join_parts(const float* records, std::size_t part_floats) {
    for (std::size_t i = 0; i < floats_of_all(); i += kLanes) {
      V::store(total_ + i, V::load(records + i));
    }
    for (int part = 1; part < num_parts(); ++part) {
      join(records + static_cast<std::size_t>(part) * part_floats);
    }
    write_output();
  }

 private:
  static constexpr int kMaxRecord = kMaxHeadDim + kLanes;
  // The last sixteen scores of a block of four may go past the end of the part. Not a multiple of a
  // page, so that the same position of many queries does not fall into one cache set.
  static constexpr int kScoreStride = kAttentionSplit + kLanes;
  // Queries that go together through registers, at most, and what they go through together: keys of
  // so many times sixteen positions, or so many times sixteen elements of values.
  static constexpr int kQueriesTogether = static_cast<int>(V::kMaxRows);
  static_assert(kQueriesTogether == 4 || kQueriesTogether == 8);
  static constexpr int kTilesTogether = 4;
  template <std::size_t kQueries>
  static constexpr std::size_t kTilesInRegisters = kQueries == 8 ? 2 : V::tiles_for_rows(kQueries);

  template <std::size_t kNumber>
  struct Count {
    static constexpr std::size_t kValue = kNumber;
  };

  int context_of(int row) const { return task_.first_position + row + 1; }
  int num_parts() const {
    return (context_of(task_.num_rows - 1) + kAttentionSplit - 1) / kAttentionSplit;
  }

  // Calls work(Count<n>, query) for groups of n queries. The last may have more queries than there
  // are: they are computed, of zeros, and left out.
  template <class Work>
  void for_each_group(const Work& work) const {
    int query = 0;
    for (; num_queries_ - query > kQueriesTogether / 2; query += kQueriesTogether) {
      work(Count<V::kMaxRows>(), query);
    }
    if (num_queries_ - query > 2) {
      work(Count<4>(), query);
    } else if (num_queries_ - query == 2) {
      work(Count<2>(), query);
    } else if (num_queries_ - query == 1) {
      work(Count<1>(), query);
    }
  }

  // (head_dim, kMaxQueries): what is multiplied at one time is adjacent.
  void pack_queries() {
    const int padded = num_queries_ <= 2 ? num_queries_ : (num_queries_ + 3) / 4 * 4;
    for (int query = 0; query < padded; ++query) {
      const float* source = task_.query.data +
                            static_cast<std::size_t>(query / task_.group) * task_.query.stride +
                            query % task_.group * layout_.head_dim;
      for (int i = 0; i < layout_.head_dim; ++i) {
        query_[i * kMaxQueries + query] = query < num_queries_ ? source[i] : 0.0F;
      }
    }
  }

  void compute(int part, float* records) {
    begin_ = part * kAttentionSplit;
    int longest = 0;  // the last query's
    for (int query = 0; query < num_queries_; ++query) {
      const int left = context_of(query / task_.group) - begin_;
      longest = counts_[query] = left < kAttentionSplit ? left : kAttentionSplit;
    }
    score_all(longest);
    if constexpr (Cache::kHasScales) gather_value_scales(longest);
    for (int query = 0; query < num_queries_; ++query) {
      float* record = records + static_cast<std::size_t>(query) * record_floats_;
      float* m_and_l = record + layout_.value_stride;
      softmax(scores_ + query * kScoreStride, counts_[query], m_and_l[0], m_and_l[1]);
    }
    sum_all_values(records);
  }

  const std::byte* head_block(int position) const {
    const auto block = static_cast<std::size_t>(task_.blocks[position / layout_.block_size]);
    return task_.layer + block * layout_.block_bytes +
           static_cast<std::size_t>(task_.kv_head) * layout_.head_bytes;
  }

  // --- scores -------------------------------------------------------------------------------

  // Sixteen positions, or a block if that is smaller: keys (head_dim, 16) and scales (16).
  struct KeyTile {
    const std::byte* keys;
    const float* scales;
    int at;  // first position within the part
  };

  KeyTile key_tile(int at) const {
    const std::byte* head = head_block(begin_ + at);
    const int offset = (begin_ + at) % layout_.block_size;
    return {head + static_cast<std::size_t>(offset * layout_.head_dim) * Cache::kBytes,
            reinterpret_cast<const float*>(head + layout_.key_scales) + offset, at};
  }

  void score_all(int count) {
    const int step = layout_.block_size < kLanes ? layout_.block_size : kLanes;
    KeyTile tiles[kTilesTogether];
    for (int at = 0; at < count;) {
      std::size_t num_tiles = 0;
      for (; num_tiles < kTilesTogether && at < count; at += step) {
        tiles[num_tiles++] = key_tile(at);
      }
      for_each_group([&](auto queries, int query) {
        score_group<decltype(queries)::kValue>(tiles, num_tiles, query);
      });
    }
  }

  template <std::size_t kQueries>
  void score_group(const KeyTile* tiles, std::size_t num_tiles, int query) {
    constexpr std::size_t kTiles = kTilesInRegisters<kQueries>;
    std::size_t tile = 0;
    for (; tile + kTiles <= num_tiles; tile += kTiles) {
      score<kQueries, kTiles>(tiles + tile, query);
    }
    for (; tile < num_tiles; ++tile) score<kQueries, 1>(tiles + tile, query);
  }

  // Lanes past a block are garbage, and overwritten by the next block or left out by softmax.
  template <std::size_t kQueries, std::size_t kTiles>
  void score(const KeyTile* tiles, int query) {
    Float sum[kTiles][kQueries];
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t q = 0; q < kQueries; ++q) sum[t][q] = V::zero();
    }
    const float* x = query_ + query;
    for (std::size_t i = 0; i < static_cast<std::size_t>(layout_.head_dim); ++i) {
      Float key[kTiles];
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) {
        key[t] = Cache::load(tiles[t].keys + i * kLanes * Cache::kBytes);
      }
      TESSERA_UNROLL
      for (std::size_t q = 0; q < kQueries; ++q) {
        const Float element = V::set(x[i * kMaxQueries + q]);
        TESSERA_UNROLL
        for (std::size_t t = 0; t < kTiles; ++t) sum[t][q] = V::fma(key[t], element, sum[t][q]);
      }
    }
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t q = 0; q < kQueries; ++q) {
        if constexpr (Cache::kHasScales) sum[t][q] = V::mul(sum[t][q], V::load(tiles[t].scales));
        V::store(scores_ + (query + static_cast<int>(q)) * kScoreStride + tiles[t].at,
                 V::mul(sum[t][q], V::set(task_.scale)));
      }
    }
  }

  // --- softmax ------------------------------------------------------------------------------

  void gather_value_scales(int count) {
    for (int at = 0; at < count; at += layout_.block_size) {
      const auto* scales =
          reinterpret_cast<const float*>(head_block(begin_ + at) + layout_.value_scales);
      for (int i = 0; i < layout_.block_size; ++i) value_scales_[at + i] = scales[i];
    }
  }

  // scores -> exp(scores - largest), and their sum. They become the values' weights, so where
  // values have scales, theirs are multiplied in.
  void softmax(float* scores, int count, float& largest, float& sum) const {
    const auto lowest = V::set(-3.4028234e38F);
    Float greatest = lowest;
    for (int i = 0; i < count; i += kLanes) {
      greatest = V::max(greatest, V::first_of(V::load(scores + i), lowest, count - i));
    }
    largest = V::largest(greatest);
    Float total = V::zero();
    for (int i = 0; i < count; i += kLanes) {
      Float e = exponential<V>(V::sub(V::load(scores + i), V::set(largest)));
      total = V::add(total, V::first_of(e, V::zero(), count - i));
      if constexpr (Cache::kHasScales) e = V::mul(e, V::load(value_scales_ + i));
      V::store(scores + i, e);
    }
    sum = V::sum(total);
  }

  // --- values -------------------------------------------------------------------------------

  const std::byte* values_at(int position, int element) const {
    const int offset = position % layout_.block_size * layout_.value_stride + element;
    return head_block(position) + layout_.values + static_cast<std::size_t>(offset) * Cache::kBytes;
  }

  void sum_all_values(float* records) {
    constexpr int kWidth = kTilesTogether * kLanes;
    for (int i = 0; i < layout_.value_stride; i += kWidth) {
      const int left = layout_.value_stride - i;
      for_each_group([&](auto queries, int query) {
        sum_group<decltype(queries)::kValue>(records, query, i, left < kWidth ? left : kWidth);
      });
    }
  }

  // Elements [i, i + width) of o of a group. Its first query sees the fewest positions: as many are
  // summed for all together, and the few that the others have beyond them for each by itself.
  template <std::size_t kQueries>
  void sum_group(float* records, int query, int i, int width) {
    constexpr int kWidth = static_cast<int>(kTilesInRegisters<kQueries>) * kLanes;
    const int end = i + width;
    int at = i;
    for (; at + kWidth <= end; at += kWidth) {
      sum_values<kQueries, kTilesInRegisters<kQueries>>(records, query, at);
    }
    for (; at < end; at += kLanes) sum_values<kQueries, 1>(records, query, at);
    const int last = query + static_cast<int>(kQueries);
    for (int q = query; q < last && q < num_queries_; ++q) {
      sum_rest(records + static_cast<std::size_t>(q) * record_floats_, q, counts_[query], i, end);
    }
  }

  template <std::size_t kQueries, std::size_t kTiles>
  void sum_values(float* records, int query, int i) {
    Float sum[kTiles][kQueries];
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t q = 0; q < kQueries; ++q) sum[t][q] = V::zero();
    }
    const int count = counts_[query];
    const std::size_t value_bytes = static_cast<std::size_t>(layout_.value_stride) * Cache::kBytes;
    for (int at = 0; at < count; at += layout_.block_size) {
      const std::byte* values = values_at(begin_ + at, i);
      const float* weights = scores_ + query * kScoreStride + at;
      const int in_block = count - at < layout_.block_size ? count - at : layout_.block_size;
      for (int j = 0; j < in_block; ++j, values += value_bytes, ++weights) {
        Float value[kTiles];
        TESSERA_UNROLL
        for (std::size_t t = 0; t < kTiles; ++t) {
          value[t] = Cache::load(values + t * kLanes * Cache::kBytes);
        }
        TESSERA_UNROLL
        for (std::size_t q = 0; q < kQueries; ++q) {
          const Float weight = V::set(weights[q * kScoreStride]);
          TESSERA_UNROLL
          for (std::size_t t = 0; t < kTiles; ++t) sum[t][q] = V::fma(value[t], weight, sum[t][q]);
        }
      }
    }
    TESSERA_UNROLL
    for (std::size_t q = 0; q < kQueries; ++q) {
      if (query + static_cast<int>(q) >= num_queries_) break;
      float* record = records + (static_cast<std::size_t>(query) + q) * record_floats_ + i;
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) V::store(record + t * kLanes, sum[t][q]);
    }
  }

  // Adds the positions from `first` to the query's own end to elements [i, end) of its o.
  void sum_rest(float* record, int query, int first, int i, int end) {
    for (int at = first; at < counts_[query]; ++at) {
      const Float weight = V::set(scores_[query * kScoreStride + at]);
      for (int element = i; element < end; element += kLanes) {
        const Float value = Cache::load(values_at(begin_ + at, element));
        V::store(record + element, V::fma(value, weight, V::load(record + element)));
      }
    }
  }

  // --- joining ------------------------------------------------------------------------------

  std::size_t floats_of_all() const {
    return static_cast<std::size_t>(num_queries_) * record_floats_;
  }

  void join(const float* records) {
    for (std::size_t at = 0; at < floats_of_all(); at += record_floats_) {
      join_record(records + at, total_ + at);
    }
  }

  void join_record(const float* part, float* total) const {
    const int width = layout_.value_stride;
    const float* part_m = part + width;
    float* total_m = total + width;
    const float largest = part_m[0] > total_m[0] ? part_m[0] : total_m[0];
    const Float keep = exponential<V>(V::set(total_m[0] - largest));
    const Float take = exponential<V>(V::set(part_m[0] - largest));
    const Float sum = V::fma(V::set(total_m[1]), keep, V::mul(V::set(part_m[1]), take));
    total_m[0] = largest;
    total_m[1] = V::first(sum);
    for (int i = 0; i < width; i += kLanes) {
      const Float taken = V::mul(V::load(part + i), take);
      V::store(total + i, V::fma(V::load(total + i), keep, taken));
    }
  }

  void write_output() {
    for (int query = 0; query < num_queries_; ++query) {
      const float* total = total_ + static_cast<std::size_t>(query) * record_floats_;
      const Float sum = V::set(total[layout_.value_stride + 1]);
      float* output = task_.output.data +
                      static_cast<std::size_t>(query / task_.group) * task_.output.stride +
                      query % task_.group * layout_.head_dim;
      for (int i = 0; i < layout_.head_dim; i += kLanes) {
        const int left = layout_.head_dim - i;
        V::store_first(output + i, V::div(V::load(total + i), sum), left < kLanes ? left : kLanes);
      }
    }
  }

  const KvLayout& layout_;
  const AttendTask& task_;
  const int num_queries_;
  const std::size_t record_floats_;
  int begin_ = 0;            // position at which the part begins
  int counts_[kMaxQueries];  // positions of the part that a query sees: at least one
  alignas(64) float query_[kMaxHeadDim * kMaxQueries];
  alignas(64) float scores_[kMaxQueries * kScoreStride];
  alignas(64) float value_scales_[Cache::kHasScales ? kScoreStride : 1];
  alignas(64) float part_[kMaxQueries * kMaxRecord];
  alignas(64) float total_[kMaxQueries * kMaxRecord];
};

// Calls work(task, first head) for at most kMaxQueries heads at a time; more than that are those of
// one row.
template <class V, class Work>
void for_each_tile_of_heads(const KvLayout& layout, const AttendTask& task, const Work& work) {
  AttendTask part = task;
  for (int head = 0; head < task.group; head += kMaxQueries) {
    part.group = task.group - head < kMaxQueries ? task.group - head : kMaxQueries;
    part.query.data = task.query.data + head * layout.head_dim;
    part.output.data = task.output.data + head * layout.head_dim;
    work(part, head);
  }
}

// Floats from one part's records to the next's.
template <class V>
std::size_t part_floats_of(const KvLayout& layout, const AttendTask& task) {
  return static_cast<std::size_t>(task.num_rows * task.group) * layout.record_floats;
}

template <class V>
void attend(const KvLayout& layout, const AttendTask& task) {
  for_each_tile_of_heads<V>(layout, task, [&](const AttendTask& part, int) {
    if (layout.has_scales) {
      TileAttention<V, IntegerCache<V>>(layout, part).attend();
    } else {
      TileAttention<V, HalfCache<V>>(layout, part).attend();
    }
  });
}

template <class V>
void attend_parts(const KvLayout& layout, const AttendTask& task, int first, int last,
                  float* records) {
  const std::size_t part_floats = part_floats_of<V>(layout, task);
  for_each_tile_of_heads<V>(layout, task, [&](const AttendTask& part, int head) {
    float* own = records + static_cast<std::size_t>(head) * layout.record_floats;
    if (layout.has_scales) {
      TileAttention<V, IntegerCache<V>>(layout, part).attend_parts(first, last, own, part_floats);
    } else {
      TileAttention<V, HalfCache<V>>(layout, part).attend_parts(first, last, own, part_floats);
    }
  });
}

template <class V>
void join_parts(const KvLayout& layout, const AttendTask& task, const float* records) {
  const std::size_t part_floats = part_floats_of<V>(layout, task);
  for_each_tile_of_heads<V>(layout, task, [&](const AttendTask& part, int head) {
    const float* own = records + static_cast<std::size_t>(head) * layout.record_floats;
    TileAttention<V, HalfCache<V>>(layout, part).join_parts(own, part_floats);
  });
}

}  // namespace tessera
