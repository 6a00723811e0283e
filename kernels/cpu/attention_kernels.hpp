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
// alone and in any tile. A tile's rows begin, where there is a window, and end at different
// positions. What lies before a query's own beginning or past its end may be a score that is left
// out, but is never multiplied into its sums, not even by zero: a freed block may hold anything,
// another tenant's values included.
//
// With a window, parts wholly outside it are never looked at, nor are the positions of the first
// part that no row of the tile sees. A part that one row sees and another does not is an empty
// record of the latter (l = 0), and joining adds nothing for it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/kv_kernels.hpp"
#include "kernels/cpu/row_kernels.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

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
    compute(first_part(), total_);
    for (int part = first_part() + 1; part < num_parts(); ++part) {
      compute(part, part_);
      join(part_);
    }
    write_output();
  }

  // Parts [first, last), each into records (num_queries) of its own.
  void attend_parts(int first, int last, float* records, std::size_t part_floats) {
    pack_queries();
    for (int part = first; part < last; ++part) {
      compute(part, records + static_cast<std::size_t>(part - first_part()) * part_floats);
    }
  }

  // What attend() would have written, of all parts' records.
  void join_parts(const float* records, std::size_t part_floats) {
    for (std::size_t i = 0; i < floats_of_all(); i += kLanes) {
      V::store(total_ + i, V::load(records + i));
    }
    for (int part = 1; part < num_parts() - first_part(); ++part) {
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
  // The first position that a row attends to.
  int beginning_of(int row) const {
    const int beginning = task_.window > 0 ? context_of(row) - task_.window : 0;
    return beginning > 0 ? beginning : 0;
  }
  int first_part() const { return beginning_of(0) / kAttentionSplit; }
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
    set_bounds();
    const int last = num_queries_ - 1;
    score_all(firsts_[0] / kLanes * kLanes, counts_[last]);
    if constexpr (Cache::kHasScales) gather_value_scales(firsts_[0], counts_[last]);
    for (int query = 0; query < num_queries_; ++query) {
      float* record = records + static_cast<std::size_t>(query) * record_floats_;
      float* m_and_l = record + layout_.value_stride;
      softmax(scores_ + query * kScoreStride, firsts_[query], counts_[query], m_and_l[0],
              m_and_l[1]);
    }
    sum_all_values(records);
  }

  void set_bounds() {
    for (int query = 0; query < num_queries_; ++query) {
      const int row = query / task_.group;
      const int left = context_of(row) - begin_;
      const int first = beginning_of(row) - begin_;
      counts_[query] = left < kAttentionSplit ? left : kAttentionSplit;
      firsts_[query] = first < 0 ? 0 : first < counts_[query] ? first : counts_[query];
    }
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

  // Positions [first, count) of the part; `first` is a multiple of sixteen.
  void score_all(int first, int count) {
    const int step = layout_.block_size < kLanes ? layout_.block_size : kLanes;
    KeyTile tiles[kTilesTogether];
    for (int at = first; at < count;) {
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

  void gather_value_scales(int first, int count) {
    for (int at = first / layout_.block_size * layout_.block_size; at < count;
         at += layout_.block_size) {
      const auto* scales =
          reinterpret_cast<const float*>(head_block(begin_ + at) + layout_.value_scales);
      for (int i = 0; i < layout_.block_size; ++i) value_scales_[at + i] = scales[i];
    }
  }

  // scores -> exp(scores - largest), and their sum. They become the values' weights, so where
  // values have scales, theirs are multiplied in. Lanes are positions; of the first sixteen those
  // before the window are left out, of the last those past the end.
  void softmax(float* scores, int first, int count, float& largest, float& sum) const {
    const auto lowest = V::set(-3.4028234e38F);
    const int begin = first / kLanes * kLanes;
    const int skip = first - begin;
    if (task_.softcap > 0.0F) cap(scores, begin, count);
    Float greatest = lowest;
    int i = begin;
    if (skip > 0 && i < count) {
      const Float ended = V::first_of(V::load(scores + i), lowest, count - i);
      greatest = V::first_of(lowest, ended, skip);
      i += kLanes;
    }
    for (; i < count; i += kLanes) {
      greatest = V::max(greatest, V::first_of(V::load(scores + i), lowest, count - i));
    }
    largest = V::largest(greatest);
    Float total = V::zero();
    i = begin;
    if (skip > 0 && i < count) {
      const Float ended = V::first_of(weigh(scores, i, largest), V::zero(), count - i);
      total = V::first_of(V::zero(), ended, skip);
      i += kLanes;
    }
    for (; i < count; i += kLanes) {
      total = V::add(total, V::first_of(weigh(scores, i, largest), V::zero(), count - i));
    }
    sum = V::sum(total);
  }

  // Makes sixteen scores weights; returns them as they are summed.
  TESSERA_ALWAYS_INLINE Float weigh(float* scores, int i, float largest) const {
    const Float e = exponential<V>(V::sub(V::load(scores + i), V::set(largest)));
    if constexpr (Cache::kHasScales) {
      V::store(scores + i, V::mul(e, V::load(value_scales_ + i)));
    } else {
      V::store(scores + i, e);
    }
    return e;
  }

  void cap(float* scores, int begin, int count) const {
    const auto inverse = V::set(1.0F / task_.softcap);
    for (int i = begin; i < count; i += kLanes) {
      const auto capped = hyperbolic_tangent<V>(V::mul(V::load(scores + i), inverse));
      V::store(scores + i, V::mul(capped, V::set(task_.softcap)));
    }
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

  // Elements [i, i + width) of o of a group. Its first query ends first, its last begins last: the
  // positions between are summed for all together, those before and behind, which are few, for each
  // query by itself.
  template <std::size_t kQueries>
  void sum_group(float* records, int query, int i, int width) {
    constexpr int kWidth = static_cast<int>(kTilesInRegisters<kQueries>) * kLanes;
    const int end = i + width;
    const int past = query + static_cast<int>(kQueries);
    const int last = past < num_queries_ ? past : num_queries_;
    const int common_end = counts_[query];
    int common = firsts_[last - 1];
    common = common < common_end ? common : common_end;
    const bool has_head = firsts_[query] < common;
    for (int q = query; has_head && q < last; ++q)
      sum_head(record_of(records, q), q, common, i, end);
    int at = i;
    for (; at + kWidth <= end; at += kWidth) {
      sum_values<kQueries, kTilesInRegisters<kQueries>>(records, query, common, has_head, at);
    }
    for (; at < end; at += kLanes) {
      sum_values<kQueries, 1>(records, query, common, has_head, at);
    }
    for (int q = query; q < last; ++q) {
      const int first = firsts_[q] > common_end ? firsts_[q] : common_end;
      add_values(record_of(records, q), q, first, counts_[q], i, end);
    }
  }

  float* record_of(float* records, int query) const {
    return records + static_cast<std::size_t>(query) * record_floats_;
  }

  // Elements [i, end) of the query's o, of its positions before `common`.
  void sum_head(float* record, int query, int common, int i, int end) {
    for (int element = i; element < end; element += kLanes) V::store(record + element, V::zero());
    add_values(record, query, firsts_[query], common, i, end);
  }

  // Of positions [common, the first query's end).
  template <std::size_t kQueries, std::size_t kTiles>
  void sum_values(float* records, int query, int common, bool has_head, int i) {
    Float sum[kTiles][kQueries];
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t q = 0; q < kQueries; ++q) sum[t][q] = V::zero();
    }
    if (has_head) load_sums<kQueries, kTiles>(records, query, i, sum);
    const int count = counts_[query];
    const std::size_t value_bytes = static_cast<std::size_t>(layout_.value_stride) * Cache::kBytes;
    int in_block = layout_.block_size - (common & (layout_.block_size - 1));
    for (int at = common; at < count; at += in_block, in_block = layout_.block_size) {
      const std::byte* values = values_at(begin_ + at, i);
      const float* weights = scores_ + query * kScoreStride + at;
      if (count - at < in_block) in_block = count - at;
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

  template <std::size_t kQueries, std::size_t kTiles>
  TESSERA_ALWAYS_INLINE void load_sums(const float* records, int query, int i,
                                       Float (&sum)[kTiles][kQueries]) const {
    TESSERA_UNROLL
    for (std::size_t q = 0; q < kQueries; ++q) {
      if (query + static_cast<int>(q) >= num_queries_) break;
      const float* record = records + (static_cast<std::size_t>(query) + q) * record_floats_ + i;
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) sum[t][q] = V::load(record + t * kLanes);
    }
  }

  // Adds positions [first, last) to elements [i, end) of the query's o.
  void add_values(float* record, int query, int first, int last, int i, int end) {
    for (int at = first; at < last; ++at) {
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
    if (total_m[1] == 0.0F) {  // nothing so far
      for (std::size_t i = 0; i < record_floats_; i += kLanes) {
        V::store(total + i, V::load(part + i));
      }
      return;
    }
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
  int begin_ = 0;  // position at which the part begins
  // The positions of the part that a query sees: from, to. Both ascend with the query.
  int firsts_[kMaxQueries] = {};
  int counts_[kMaxQueries] = {};
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
