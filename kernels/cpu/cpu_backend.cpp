#include "kernels/cpu/cpu_backend.hpp"

#include <algorithm>
#include <cassert>
#include <thread>

namespace tessera {
namespace {

int num_threads(const BackendLimits& limits) {
  if (limits.num_threads > 0) return limits.num_threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

constexpr int kTilesPerBlock = kNf4Block / kTileFeatures;

// Of whole blocks.
Range blocks_of_columns(Range columns) {
  return {columns.begin / kNf4Block, columns.end / kNf4Block};
}

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

MultipliedRows::MultipliedRows(int rows, int width, const KernelTable& kernels)
    : ActivationRows(rows, width),
      quantise_(kernels.quantise),
      num_blocks_(width / kNf4Block),
      panel_(elements(kPanelRows, width) + 32),  // not a multiple of a page
      units_panel_(elements(kPanelRows, num_blocks_)) {
  if (!has_integers()) return;
  const std::size_t panels = (static_cast<std::size_t>(rows) + kPanelRows - 1) / kPanelRows;
  integers_ = AlignedBuffer<std::int16_t>(panels * panel_);
  units_ = AlignedBuffer<float>(panels * units_panel_);
}

void MultipliedRows::quantise(int i, Range blocks) {
  if (!has_integers()) return;
  const auto panel = static_cast<std::size_t>(i) / kPanelRows;
  const auto in_panel = static_cast<std::size_t>(i) % kPanelRows;
  const auto first = static_cast<std::size_t>(blocks.begin);
  quantise_(row(i) + first * kNf4Block, blocks.end - blocks.begin,
            integers_.data() + panel * panel_ + first * kNf4Block * kPanelRows + 2 * in_panel,
            units_.data() + panel * units_panel_ + first * kPanelRows + in_panel);
}

Activations MultipliedRows::activations() const {
  return {const_view(), {integers_.data(), panel_, units_.data(), units_panel_}};
}

CpuBackend::CpuBackend(const ModelWeights& weights, const BackendLimits& limits, CpuPath path)
    : spec_(weights.spec),
      limits_(limits),
      kernels_(kernels_of(path)),
      group_(spec_.num_heads / spec_.num_kv_heads),
      pool_(num_threads(limits), limits.pin_threads ? Pinning::kOneCpuEach : Pinning::kNone),
      embedding_(weights.embedding),
      final_norm_(weights.final_norm),
      head_(weights.head, spec_.vocab_size, spec_.hidden, limits.head_form, pool_),
      kv_layout_(make_kv_layout(spec_.head_dim, spec_.num_kv_heads, limits.block_size,
                                limits.num_blocks, limits.kv_form)),
      kv_(kv_layout_.layer_bytes * spec_.layers.size()),
      max_records_(max_records(limits, group_)),
      attention_(limits.max_rows, group_, spec_.num_kv_heads, pool_.num_threads(), max_records_),
      records_(elements(pool_.num_threads() - 1, max_records_) * kv_layout_.record_floats),
      rotary_(limits.max_rows, spec_.head_dim),
      lora_(spec_, std::max(limits.max_rows, limits.max_logit_rows), limits.max_rank, kernels_),
      seq_of_row_(static_cast<std::size_t>(limits.max_rows)),
      slot_of_row_(static_cast<std::size_t>(limits.max_rows)),
      slot_of_head_row_(static_cast<std::size_t>(limits.max_logit_rows)),
      residual_(elements(limits.max_rows, spec_.hidden)),
      normed_(limits.max_rows, spec_.hidden, kernels_),
      query_(limits.max_rows, spec_.q_dim()),
      key_(limits.max_rows, spec_.kv_dim()),
      value_(limits.max_rows, spec_.kv_dim()),
      attended_(limits.max_rows, spec_.q_dim(), kernels_),
      gate_(limits.max_rows, spec_.intermediate, kernels_),
      up_(limits.max_rows, spec_.intermediate),
      projected_(limits.max_rows, spec_.hidden),
      head_input_(limits.max_logit_rows, spec_.hidden, kernels_),
      logits_(limits.max_logit_rows, spec_.vocab_size) {
  for (const LayerWeights& source : weights.layers) {
    Layer& layer = layers_.emplace_back();
    layer.bias = source.qkv_bias;
    layer.attention_norm = source.attention_norm;
    layer.mlp_norm = source.mlp_norm;
    for (std::size_t i = 0; i < kNumLinears; ++i) {
      layer.linears[i] = TiledMatrix(source.linears[i], pool_);
    }
  }
  if (limits.pin_threads && num_memory_nodes() > 1) spread_cache_over_nodes();
}

// At most what a page holds.
constexpr std::size_t kTouchBytes = 4096;

// Which thread will read a block is not known before a step, so the cache's pages are touched first
// by all threads in turn: each node serves a part of what every thread reads. On one node the
// cache's memory is not taken until it is used.
void CpuBackend::spread_cache_over_nodes() {
  pool_.run([&](int thread) {
    for (std::size_t page = 0; page < kv_.size(); page += kTouchBytes) {
      const auto turn = page / kHugePageBytes % static_cast<std::size_t>(pool_.num_threads());
      if (turn == static_cast<std::size_t>(thread)) kv_.data()[page] = std::byte{0};
    }
  });
}

// --- the stages -----------------------------------------------------------------------------

void CpuBackend::begin(const StepInput& input) {
  assert(input.tokens.size() <= seq_of_row_.size());
  assert(input.head_rows.size() <= slot_of_head_row_.size());
  input_ = input;
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    for (int row = input.seq_indptr[seq]; row < input.seq_indptr[seq + 1]; ++row) {
      seq_of_row_[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(seq);
      slot_of_row_[static_cast<std::size_t>(row)] = input.slots[seq];
    }
  }
  for (std::size_t i = 0; i < input.head_rows.size(); ++i) {
    slot_of_head_row_[i] = slot_of_row_[static_cast<std::size_t>(input.head_rows[i])];
  }
  rotary_.set_positions(input.positions);
  attention_.build(input);
  lora_.plan(std::span(slot_of_row_).first(input.tokens.size()));
}

void CpuBackend::embed() {
  const Rows x{residual_.data(), static_cast<std::size_t>(spec_.hidden)};
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      const TokenId token = input_.tokens[static_cast<std::size_t>(row)];
      const AdapterSlot slot = slot_of_row_[static_cast<std::size_t>(row)];
      kernels_.widen_bf16(embedding_ + elements(token, spec_.hidden), spec_.hidden,
                          residual_row(row));
      if (slot != kNoAdapter) lora_.add_embedding(slot, token, row, x);
    }
  });
}

void CpuBackend::qkv(int layer) {
  rotary_.set_theta(spec_at(layer).rope_theta);
  normalise(layer_at(layer).attention_norm, spec_at(layer).rms_eps);
  shrink(layer, {Linear::kQ, Linear::kK, Linear::kV}, normed_);
  const std::array<ActivationRows*, 3> outputs = {&query_, &key_, &value_};
  const int grain = deals_whole_heads() ? spec_.head_dim / kTileFeatures : 1;
  pool_.run([&](int thread) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const int site = static_cast<int>(i);
      const Range columns =
          project(projection(layer, kAllLinears[i], site, normed_, *outputs[i], grain), thread);
      if (spec_at(layer).qkv_bias) add_bias(layer_at(layer).bias[i], columns, *outputs[i]);
    }
    if (deals_whole_heads()) {
      rotate_and_store(layer, {0, num_rows()}, thread, pool_.num_threads());
    }
  });
  if (!deals_whole_heads()) rotate_and_store_by_rows(layer);
}

void CpuBackend::attention(int layer) {
  pool_.run([&](int thread) {
    for (const AttentionShare& share : attention_.shares_of(thread)) attend(layer, share);
  });
  if (!attention_.divided().empty()) join_divided(layer);
}

void CpuBackend::o_proj(int layer) {
  if (!attends_whole_blocks()) quantise(attended_);
  project_into_residual(layer, Linear::kO, attended_);
}

void CpuBackend::gate_up(int layer) {
  normalise(layer_at(layer).mlp_norm, spec_at(layer).rms_eps);
  shrink(layer, {Linear::kGate, Linear::kUp}, normed_);
  pool_.run([&](int thread) {
    project(projection(layer, Linear::kGate, 0, normed_, gate_, kTilesPerBlock), thread);
    const Range columns =
        project(projection(layer, Linear::kUp, 1, normed_, up_, kTilesPerBlock), thread);
    for (int row = 0; row < num_rows(); ++row) {
      kernels_.silu_multiply(gate_.row(row) + columns.begin, up_.row(row) + columns.begin,
                             columns.end - columns.begin);
      gate_.quantise(row, blocks_of_columns(columns));
    }
  });
}

void CpuBackend::down(int layer) {
  project_into_residual(layer, Linear::kDown, gate_);
}

void CpuBackend::head() {
  const int rows = static_cast<int>(input_.head_rows.size());
  pool_.run([&](int thread) {
    const Range mine = part_of(rows, thread, pool_.num_threads());
    for (int i = mine.begin; i < mine.end; ++i) {
      const float* x = residual_row(input_.head_rows[static_cast<std::size_t>(i)]);
      kernels_.rms_norm(x, final_norm_, spec_.final_rms_eps, spec_.hidden, head_input_.row(i));
      if (limits_.head_form == HeadForm::kInt8) head_input_.quantise(i);
    }
  });
  const LoraSite site{.is_head = true};
  lora_.plan(std::span(slot_of_head_row_).first(input_.head_rows.size()));
  lora_.shrink(std::span(&site, 1), spec_.hidden, head_input_.const_view(), pool_);
  KernelTable::Multiply* multiply =
      limits_.head_form == HeadForm::kInt8 ? kernels_.multiply_int8 : kernels_.multiply_bf16;
  pool_.run([&](int thread) {
    project({head_, multiply, site, 0, head_input_.activations(), logits_.view(), rows}, thread);
  });
}

std::size_t CpuBackend::weight_bytes() const {
  std::size_t bytes = head_.bytes();
  for (const Layer& layer : layers_) {
    for (const TiledMatrix& matrix : layer.linears) bytes += matrix.bytes();
  }
  return bytes;
}

std::span<const float> CpuBackend::logits(int i) {
  return {logits_.row(i), static_cast<std::size_t>(spec_.vocab_size)};
}

std::span<const float> CpuBackend::residual() {
  return {residual_.data(), elements(num_rows(), spec_.hidden)};
}

// --- projections ----------------------------------------------------------------------------

float* CpuBackend::residual_row(int row) {
  return residual_.data() + elements(row, spec_.hidden);
}

void CpuBackend::normalise(const float* weight, float eps) {
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      kernels_.rms_norm(residual_row(row), weight, eps, spec_.hidden, normed_.row(row));
      normed_.quantise(row);
    }
  });
}

// All rows, dealt out by block so that a single row is everybody's work.
void CpuBackend::quantise(MultipliedRows& x) {
  if (!x.has_integers()) return;
  pool_.run([&](int thread) {
    const Range mine = part_of(num_rows() * x.num_blocks(), thread, pool_.num_threads());
    for (int at = mine.begin; at < mine.end;) {
      const int first = at % x.num_blocks();
      const int last = std::min(x.num_blocks(), first + mine.end - at);
      x.quantise(at / x.num_blocks(), {first, last});
      at += last - first;
    }
  });
}

void CpuBackend::shrink(int layer, std::initializer_list<Linear> linears, const MultipliedRows& x) {
  std::array<LoraSite, 3> sites;
  std::transform(linears.begin(), linears.end(), sites.begin(), [&](Linear linear) {
    return LoraSite{layer, linear};
  });
  const int in_features = spec_.shape(*linears.begin()).in_features;
  lora_.shrink(std::span(sites).first(linears.size()), in_features, x.const_view(), pool_);
}

CpuBackend::Projection CpuBackend::projection(int layer, Linear linear, int site_index,
                                              const MultipliedRows& x, ActivationRows& y,
                                              int grain) const {
  return {layer_at(layer).linears[static_cast<std::size_t>(linear)],
          kernels_.multiply_nf4,
          LoraSite{layer, linear},
          site_index,
          x.activations(),
          y.view(),
          num_rows(),
          grain};
}

Range CpuBackend::project(const Projection& p, int thread) const {
  const Range grains = part_of(p.weights.tiles() / p.grain, thread, pool_.num_threads());
  const Range tiles{grains.begin * p.grain, grains.end * p.grain};
  const int out_features = p.weights.out_features();
  const Range columns{tiles.begin * kTileFeatures,
                      std::min(tiles.end * kTileFeatures, out_features)};
  p.multiply(p.weights.view(), tiles.begin, tiles.end, p.x, p.rows, p.y);
  lora_.expand(p.site, p.site_index, out_features, columns, p.y);
  return columns;
}

void CpuBackend::add_bias(const float* bias, Range columns, ActivationRows& y) {
  for (int row = 0; row < num_rows(); ++row) {
    for (int n = columns.begin; n < columns.end; ++n) y.row(row)[n] += bias[n];
  }
}

void CpuBackend::project_into_residual(int layer, Linear linear, MultipliedRows& x) {
  shrink(layer, {linear}, x);
  pool_.run([&](int thread) {
    const Range columns = project(projection(layer, linear, 0, x, projected_), thread);
    for (int row = 0; row < num_rows(); ++row) {
      kernels_.add(residual_row(row) + columns.begin, projected_.row(row) + columns.begin,
                   columns.end - columns.begin);
    }
  });
}

// --- attention ------------------------------------------------------------------------------

// Then a thread's columns of q, k and v are heads of its own. Not at the cost of an uneven share.
bool CpuBackend::deals_whole_heads() const {
  return spec_.head_dim % kTileFeatures == 0 && spec_.num_kv_heads % pool_.num_threads() == 0;
}

void CpuBackend::rotate_and_store(int layer, Range rows, int thread, int num_threads) {
  const Range heads = part_of(spec_.num_heads, thread, num_threads);
  const Range kv_heads = part_of(spec_.num_kv_heads, thread, num_threads);
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int head = heads.begin; head < heads.end; ++head) rotate(query_, row, head);
    for (int head = kv_heads.begin; head < kv_heads.end; ++head) {
      rotate(key_, row, head);
      store(layer, row, head);
    }
  }
}

void CpuBackend::rotate_and_store_by_rows(int layer) {
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    rotate_and_store(layer, rows, 0, 1);
  });
}

void CpuBackend::rotate(ActivationRows& x, int row, int head) {
  kernels_.rotate(x.row(row) + head * spec_.head_dim, rotary_.cosine(row), rotary_.sine(row),
                  spec_.head_dim);
}

void CpuBackend::store(int layer, int row, int kv_head) {
  const int position = input_.positions[static_cast<std::size_t>(row)];
  const auto block_index = static_cast<std::size_t>(position / limits_.block_size);
  const auto block =
      static_cast<std::size_t>(blocks_of(seq_of_row_[static_cast<std::size_t>(row)])[block_index]);
  const int column = kv_head * spec_.head_dim;
  kernels_.store_kv(kv_layout_, key_.row(row) + column, value_.row(row) + column,
                    cache_of(layer) + block * kv_layout_.block_bytes +
                        static_cast<std::size_t>(kv_head) * kv_layout_.head_bytes,
                    position % limits_.block_size);
}

void CpuBackend::attend(int layer, const AttentionShare& share) {
  const AttendTask task = attend_task(layer, share);
  if (share.records == kNoRecords) {
    kernels_.attend(kv_layout_, task);
    quantise_attended(share);
  } else {
    kernels_.attend_parts(kv_layout_, task, share.first_part, share.last_part, records_of(share));
  }
}

void CpuBackend::join_divided(int layer) {
  pool_.run([&](int thread) {
    const auto divided = attention_.divided();
    for (auto i = static_cast<std::size_t>(thread); i < divided.size();
         i += static_cast<std::size_t>(pool_.num_threads())) {
      kernels_.join_parts(kv_layout_, attend_task(layer, divided[i]), records_of(divided[i]));
      quantise_attended(divided[i]);
    }
  });
}

AttendTask CpuBackend::attend_task(int layer, const AttentionShare& share) {
  const AttentionTile& tile = attention_.tile(share);
  const int first_query = share.kv_head * group_ * spec_.head_dim;
  const Rows query = query_.view();
  const Rows output = attended_.view();
  const std::size_t row = static_cast<std::size_t>(tile.first_row);
  return {
      .query = {query.data + row * query.stride + first_query, query.stride},
      .output = {output.data + row * output.stride + first_query, output.stride},
      .layer = cache_of(layer),
      .blocks = blocks_of(tile.seq).data(),
      .first_position = tile.first_position,
      .num_rows = tile.num_rows,
      .group = group_,
      .kv_head = share.kv_head,
      .scale = spec_at(layer).attention_scale,
  };
}

float* CpuBackend::records_of(const AttentionShare& share) {
  return records_.data() + elements(share.records, max_records_) * kv_layout_.record_floats;
}

// Integers of the columns of one KV head's queries, for o_proj.
void CpuBackend::quantise_attended(const AttentionShare& share) {
  if (!attends_whole_blocks()) return;
  const AttentionTile& tile = attention_.tile(share);
  const int width = group_ * spec_.head_dim;
  const Range columns{share.kv_head * width, (share.kv_head + 1) * width};
  for (int row = tile.first_row; row < tile.first_row + tile.num_rows; ++row) {
    attended_.quantise(row, blocks_of_columns(columns));
  }
}

std::byte* CpuBackend::cache_of(int layer) {
  return kv_.data() + static_cast<std::size_t>(layer) * kv_layout_.layer_bytes;
}

std::span<const BlockId> CpuBackend::blocks_of(int seq) const {
  const auto index = static_cast<std::size_t>(seq);
  const auto begin = static_cast<std::size_t>(input_.block_indptr[index]);
  const auto end = static_cast<std::size_t>(input_.block_indptr[index + 1]);
  return input_.blocks.subspan(begin, end - begin);
}

std::unique_ptr<Backend> make_cpu_backend(const ModelWeights& weights, const BackendLimits& limits,
                                          std::string_view force) {
  return std::make_unique<CpuBackend>(weights, limits, choose_cpu_path(force));
}

}  // namespace tessera
