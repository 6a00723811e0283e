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

template <class Rows, class Columns>
std::size_t elements(Rows rows, Columns columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
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
      pool_(num_threads(limits)),
      embedding_(weights.embedding),
      final_norm_(weights.final_norm),
      head_(weights.head, spec_.vocab_size, spec_.hidden, limits.head_form, pool_),
      kv_layout_(
          make_kv_layout(spec_.head_dim, spec_.num_kv_heads, limits.block_size, limits.num_blocks)),
      kv_(kv_layout_.layer_elements * spec_.layers.size()),
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
  pool_.run([&](int thread) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const int site = static_cast<int>(i);
      const Range columns =
          project(projection(layer, kAllLinears[i], site, normed_, *outputs[i]), thread);
      if (spec_at(layer).qkv_bias) add_bias(layer_at(layer).bias[i], columns, *outputs[i]);
    }
  });
  for_each_kv_head([&](int row, int kv_head) { rotate_and_store(layer, row, kv_head); });
}

void CpuBackend::attention(int layer) {
  for_each_kv_head([&](int row, int kv_head) { attend(layer, row, kv_head); });
}

void CpuBackend::o_proj(int layer) {
  project_into_residual(layer, Linear::kO, attended_);
}

void CpuBackend::gate_up(int layer) {
  normalise(layer_at(layer).mlp_norm, spec_at(layer).rms_eps);
  shrink(layer, {Linear::kGate, Linear::kUp}, normed_);
  pool_.run([&](int thread) {
    project(projection(layer, Linear::kGate, 0, normed_, gate_), thread);
    const Range columns = project(projection(layer, Linear::kUp, 1, normed_, up_), thread);
    for (int row = 0; row < num_rows(); ++row) {
      kernels_.silu_multiply(gate_.row(row) + columns.begin, up_.row(row) + columns.begin,
                             columns.end - columns.begin);
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
                                              const MultipliedRows& x, ActivationRows& y) const {
  return {layer_at(layer).linears[static_cast<std::size_t>(linear)],
          kernels_.multiply_nf4,
          LoraSite{layer, linear},
          site_index,
          x.activations(),
          y.view(),
          num_rows()};
}

Range CpuBackend::project(const Projection& p, int thread) const {
  const Range tiles = part_of(p.weights.tiles(), thread, pool_.num_threads());
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
  quantise(x);
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

// Dealt out in turn, because later rows of a prompt attend to more.
template <class Work>
void CpuBackend::for_each_kv_head(const Work& work) {
  pool_.run([&](int thread) {
    const int count = num_rows() * spec_.num_kv_heads;
    for (int i = thread; i < count; i += pool_.num_threads()) {
      work(i / spec_.num_kv_heads, i % spec_.num_kv_heads);
    }
  });
}

std::span<const BlockId> CpuBackend::blocks_of(int row) const {
  const auto seq = static_cast<std::size_t>(seq_of_row_[static_cast<std::size_t>(row)]);
  const auto begin = static_cast<std::size_t>(input_.block_indptr[seq]);
  const auto end = static_cast<std::size_t>(input_.block_indptr[seq + 1]);
  return input_.blocks.subspan(begin, end - begin);
}

void CpuBackend::rotate_and_store(int layer, int row, int kv_head) {
  const int dim = spec_.head_dim;
  const float* cosine = rotary_.cosine(row);
  const float* sine = rotary_.sine(row);
  for (int head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
    kernels_.rotate(query_.row(row) + head * dim, cosine, sine, dim);
  }
  float* key = key_.row(row) + kv_head * dim;
  kernels_.rotate(key, cosine, sine, dim);

  const int position = input_.positions[static_cast<std::size_t>(row)];
  const auto block_index = static_cast<std::size_t>(position / limits_.block_size);
  const auto block = static_cast<std::size_t>(blocks_of(row)[block_index]);
  std::uint16_t* head_block = kv_.data() +
                              static_cast<std::size_t>(layer) * kv_layout_.layer_elements +
                              block * kv_layout_.block_elements +
                              static_cast<std::size_t>(kv_head) * kv_layout_.head_elements;
  kernels_.store_kv(kv_layout_, key, value_.row(row) + kv_head * dim, head_block,
                    position % limits_.block_size);
}

void CpuBackend::attend(int layer, int row, int kv_head) {
  const int first_query = kv_head * group_ * spec_.head_dim;
  const AttendTask task{
      .query = query_.row(row) + first_query,
      .output = attended_.row(row) + first_query,
      .layer = kv_.data() + static_cast<std::size_t>(layer) * kv_layout_.layer_elements,
      .blocks = blocks_of(row).data(),
      .context = input_.positions[static_cast<std::size_t>(row)] + 1,
      .group = group_,
      .kv_head = kv_head,
      .scale = spec_at(layer).attention_scale,
  };
  kernels_.attend(kv_layout_, task);
}

std::unique_ptr<Backend> make_cpu_backend(const ModelWeights& weights, const BackendLimits& limits,
                                          std::string_view force) {
  return std::make_unique<CpuBackend>(weights, limits, choose_cpu_path(force));
}

}  // namespace tessera
