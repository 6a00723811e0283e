#include "kernels/cpu/cpu_attention.hpp"

#include <algorithm>

namespace tessera {
namespace {

template <class Rows, class Columns>
std::size_t elements(Rows rows, Columns columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

// Records for all parts of the longest context that the cache has room for, of a single row; and at
// least for a few rows of a short one.
int max_records(const BackendLimits& limits, int group) {
  const std::int64_t positions = std::int64_t{limits.num_blocks} * limits.block_size;
  const auto parts = static_cast<int>((positions + kAttentionSplit - 1) / kAttentionSplit);
  return std::max(parts * group, 8 * kMaxQueries);
}

}  // namespace

CpuAttention::CpuAttention(const ModelSpec& spec, const BackendLimits& limits,
                           const KernelTable& kernels, ThreadPool& pool)
    : spec_(spec),
      kernels_(kernels),
      pool_(pool),
      block_size_(limits.block_size),
      group_(spec.num_heads / spec.num_kv_heads),
      layout_(make_kv_layout(spec.head_dim, spec.num_kv_heads, limits.block_size, limits.num_blocks,
                             limits.kv_form)),
      cache_(layout_.layer_bytes * spec.layers.size()),
      max_records_(max_records(limits, group_)),
      records_(elements(pool.num_threads() - 1, max_records_) * layout_.record_floats) {
  for (const LayerSpec& layer : spec.layers) {
    const auto plan = std::find_if(plans_.begin(), plans_.end(), [&](const AttentionPlan& each) {
      return each.window() == layer.window;
    });
    plan_of_layer_.push_back(static_cast<std::size_t>(plan - plans_.begin()));
    if (plan != plans_.end()) continue;
    plans_.emplace_back(limits.max_rows, group_, spec.num_kv_heads, pool.num_threads(),
                        max_records_, layer.window);
  }
  // Which thread will read a block is not known before a step.
  if (limits.pin_threads) interleave_over_nodes(cache_.data(), cache_.size());
}

void CpuAttention::begin(const StepInput& input) {
  input_ = input;
  for (AttentionPlan& plan : plans_) plan.build(input);
}

// Runs of neighbours at a time: a block of one layer may be less than a page.
void CpuAttention::discard(std::span<const BlockId> blocks) {
  std::vector<BlockId> sorted(blocks.begin(), blocks.end());
  std::ranges::sort(sorted);
  for (auto first = sorted.begin(); first != sorted.end();) {
    auto last = first + 1;
    while (last != sorted.end() && *last == *(last - 1) + 1) ++last;
    const std::size_t begin = static_cast<std::size_t>(*first) * layout_.block_bytes;
    const std::size_t bytes = static_cast<std::size_t>(last - first) * layout_.block_bytes;
    for (int layer = 0; layer < spec_.num_layers(); ++layer) {
      discard_pages(cache_of(layer) + begin, bytes);
    }
    first = last;
  }
}

AttentionPlan& CpuAttention::plan_of(int layer) {
  return plans_[plan_of_layer_[static_cast<std::size_t>(layer)]];
}

std::byte* CpuAttention::cache_of(int layer) {
  return cache_.data() + static_cast<std::size_t>(layer) * layout_.layer_bytes;
}

std::span<const BlockId> CpuAttention::blocks_of(int seq) const {
  const auto index = static_cast<std::size_t>(seq);
  const auto begin = static_cast<std::size_t>(input_.block_indptr[index]);
  const auto end = static_cast<std::size_t>(input_.block_indptr[index + 1]);
  return input_.blocks.subspan(begin, end - begin);
}

void CpuAttention::store(int layer, int seq, int position, int kv_head, const float* key,
                         const float* value) {
  const auto block_index = static_cast<std::size_t>(position / block_size_);
  const auto block = static_cast<std::size_t>(blocks_of(seq)[block_index]);
  kernels_.store_kv(layout_, key, value,
                    cache_of(layer) + block * layout_.block_bytes +
                        static_cast<std::size_t>(kv_head) * layout_.head_bytes,
                    position % block_size_);
}

void CpuAttention::attend(int layer, ConstRows query, StageRows& output,
                          const StageOrders& orders) {
  const bool are_whole_blocks = group_ * spec_.head_dim % kNf4Block == 0;
  const Work work{layer, plan_of(layer), query, output,
                  are_whole_blocks && StageRows::finishes_blocks(orders)};
  pool_.run([&](int thread) {
    for (const AttentionShare& share : work.plan.shares_of(thread)) attend_share(work, share);
  });
  if (!work.plan.divided().empty()) join_divided(work);
  if (work.finishes) return;
  output.finish_all(static_cast<int>(input_.tokens.size()), orders, pool_);
}

void CpuAttention::attend_share(const Work& work, const AttentionShare& share) {
  const AttendTask mine = task(work, share);
  if (share.records == kNoRecords) {
    kernels_.attend(layout_, mine);
    finish(work, share);
  } else {
    kernels_.attend_parts(layout_, mine, share.first_part, share.last_part, records_of(share));
  }
}

void CpuAttention::join_divided(const Work& work) {
  pool_.run([&](int thread) {
    const auto divided = work.plan.divided();
    for (auto i = static_cast<std::size_t>(thread); i < divided.size();
         i += static_cast<std::size_t>(pool_.num_threads())) {
      kernels_.join_parts(layout_, task(work, divided[i]), records_of(divided[i]));
      finish(work, divided[i]);
    }
  });
}

AttendTask CpuAttention::task(const Work& work, const AttentionShare& share) {
  const AttentionTile& tile = work.plan.tile(share);
  const LayerSpec& spec = spec_.layers[static_cast<std::size_t>(work.layer)];
  const int first_query = share.kv_head * group_ * spec_.head_dim;
  const Rows output = work.output.view();
  const auto row = static_cast<std::size_t>(tile.first_row);
  return {
      .query = {work.query.data + row * work.query.stride + first_query, work.query.stride},
      .output = {output.data + row * output.stride + first_query, output.stride},
      .layer = cache_of(work.layer),
      .blocks = blocks_of(tile.seq).data(),
      .first_position = tile.first_position,
      .num_rows = tile.num_rows,
      .group = group_,
      .kv_head = share.kv_head,
      .scale = spec.attention_scale,
      .softcap = spec.attention_softcap,
      .window = spec.window,
  };
}

float* CpuAttention::records_of(const AttentionShare& share) {
  return records_.data() + elements(share.records, max_records_) * layout_.record_floats;
}

// The columns of one KV head's queries, for o_proj.
void CpuAttention::finish(const Work& work, const AttentionShare& share) {
  if (!work.finishes) return;
  const AttentionTile& tile = work.plan.tile(share);
  const int blocks = group_ * spec_.head_dim / kNf4Block;
  const Range columns{share.kv_head * blocks, (share.kv_head + 1) * blocks};
  for (int row = tile.first_row; row < tile.first_row + tile.num_rows; ++row) {
    work.output.finish(row, columns);
  }
}

}  // namespace tessera
