#include "kernels/cpu/cpu_backend.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <thread>

namespace tessera {
namespace {

int num_threads(const BackendLimits& limits) {
  if (limits.num_threads > 0) return limits.num_threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

constexpr int kTilesPerBlock = kNf4Block / kTileFeatures;

// A projection's columns are dealt in pieces: small ones, so that a thread that is held up keeps
// the others waiting for little, but each with bytes enough that its beginning does not count.
constexpr std::size_t kPieceBytes = std::size_t{64} << 10;
constexpr int kMaxPiecesPerThread = 8;

// Of whole blocks.
Range blocks_of_columns(Range columns) {
  return {columns.begin / kNf4Block, columns.end / kNf4Block};
}

int round_up_to_lanes(int count) {
  return (count + 15) / 16 * 16;
}

template <class Rows, class Columns>
std::size_t elements(Rows rows, Columns columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

BaseLinear make_head(const ModelWeights& weights, HeadForm form, const KernelTable& kernels,
                     ThreadPool& pool) {
  BaseLinear head;
  head.weights = TiledMatrix(weights.head, form, kernels, pool);
  return head;
}

StageNeeds needs_of(const BaseLinear& linear) {
  StageNeeds needs;
  needs.add(linear);
  needs.max_orders = linear.weights.order().empty() ? 0 : 1;
  return needs;
}

StageRows make_rows(int rows, int width, const KernelTable& kernels, const StageNeeds& needs) {
  return {rows, width, kernels, needs.integers, needs.max_orders};
}

}  // namespace

CpuBackend::CpuBackend(const ModelWeights& weights, const BackendLimits& limits,
                       const KernelTable& kernels)
    : spec_(weights.spec),
      limits_(limits),
      kernels_(kernels),
      pool_(num_threads(limits), limits.pin_threads ? Pinning::kOneCpuEach : Pinning::kNone),
      embedding_(weights.embedding),
      final_norm_(weights.final_norm),
      layers_(make_layers(weights, kernels_, pool_)),
      needs_(layers_),
      head_(make_head(weights, limits.head_form, kernels_, pool_)),
      attention_(spec_, limits, kernels_, pool_),
      rotary_(spec_.ropes, limits.max_rows),
      adapters_(limits.max_rank),
      lora_(spec_, std::max(limits.max_rows, limits.max_logit_rows), limits.max_seqs, adapters_,
            kernels_),
      experts_(spec_, limits, needs_, adapters_, kernels_, pool_),
      seq_of_row_(static_cast<std::size_t>(limits.max_rows)),
      terms_of_row_(static_cast<std::size_t>(limits.max_rows)),
      terms_of_head_row_(static_cast<std::size_t>(limits.max_logit_rows)),
      residual_(elements(limits.max_rows, spec_.hidden)),
      normed_(make_rows(limits.max_rows, spec_.hidden, kernels_, needs_.hidden)),
      query_(limits.max_rows, spec_.q_dim()),
      key_(limits.max_rows, spec_.kv_dim()),
      value_(limits.max_rows, spec_.kv_dim()),
      attended_(make_rows(limits.max_rows, spec_.q_dim(), kernels_, needs_.attention)),
      gate_(make_rows(limits.max_rows, spec_.intermediate, kernels_, needs_.mlp)),
      up_(limits.max_rows, spec_.intermediate),
      projected_(limits.max_rows, spec_.hidden),
      head_input_(make_rows(limits.max_logit_rows, spec_.hidden, kernels_, needs_of(head_))),
      logits_(limits.max_logit_rows, spec_.vocab_size) {
  head_.order = head_orders_.add(head_.weights.order());
}

// --- the stages -----------------------------------------------------------------------------

void CpuBackend::begin(const StepInput& input) {
  assert(input.tokens.size() <= seq_of_row_.size());
  assert(input.head_rows.size() <= terms_of_head_row_.size());
  input_ = input;
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    const RowTerms terms = adapters_.terms_of(input, seq);
    const std::int32_t start = input.lora_start.empty() ? 0 : input.lora_start[seq];
    for (int i = input.seq_indptr[seq]; i < input.seq_indptr[seq + 1]; ++i) {
      const auto row = static_cast<std::size_t>(i);
      seq_of_row_[row] = static_cast<std::int32_t>(seq);
      terms_of_row_[row] = input.positions[row] < start ? RowTerms{} : terms;
    }
  }
  for (std::size_t i = 0; i < input.head_rows.size(); ++i) {
    terms_of_head_row_[i] = terms_of_row_[static_cast<std::size_t>(input.head_rows[i])];
  }
  attention_.begin(input);
  lora_.plan(std::span(terms_of_row_).first(input.tokens.size()));
}

void CpuBackend::embed() {
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      embed_row(row);
      const auto index = static_cast<std::size_t>(row);
      const auto seq = static_cast<std::size_t>(seq_of_row_[index]);
      const bool is_long = !input_.long_rope.empty() && input_.long_rope[seq] != 0;
      rotary_.set_row(row, input_.positions[index], is_long);
    }
  });
}

void CpuBackend::embed_row(int row) {
  const TokenId token = input_.tokens[static_cast<std::size_t>(row)];
  const RowTerms terms = terms_of_row_[static_cast<std::size_t>(row)];
  const Bf16* source = lora_.own_embedding(terms, token);
  if (source == nullptr && embedding_.form == WeightForm::kBf16) {
    source = embedding_.bf16 + elements(token, spec_.hidden);
  }
  float* x = residual_row(row);
  if (source != nullptr) {
    kernels_.widen_bf16(source, spec_.hidden, x);
  } else {
    decode_row(embedding_, token, {x, static_cast<std::size_t>(spec_.hidden)});
  }
  lora_.change_embedding(terms, token, row,
                         {residual_.data(), static_cast<std::size_t>(spec_.hidden)});
  if (spec_.embedding_scale != 1.0F) kernels_.scale(x, spec_.embedding_scale, spec_.hidden);
}

void CpuBackend::qkv(int layer) {
  normalise(layer_at(layer).attention_norm, spec_at(layer).rms_eps, layer_at(layer).qkv);
  shrink(layer, {Linear::kQ, Linear::kK, Linear::kV}, normed_);
  const std::array<ActivationRows*, 3> outputs = {&query_, &key_, &value_};
  const bool whole_heads = deals_whole_heads(layer);
  const int grain = whole_heads ? spec_.head_dim / kTileFeatures : 1;
  const int pieces =
      whole_heads
          ? spec_.num_kv_heads
          : num_pieces({&layer_at(layer).linear(Linear::kQ), &layer_at(layer).linear(Linear::kK),
                        &layer_at(layer).linear(Linear::kV)});
  pool_.deal(pieces, [&](int piece) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const int site = static_cast<int>(i);
      project(projection(layer, kAllLinears[i], site, normed_, *outputs[i], grain), piece, pieces);
    }
    if (whole_heads) rotate_and_store(layer, {0, num_rows()}, piece, pieces);
  });
  if (!whole_heads) rotate_and_store_by_rows(layer);
}

void CpuBackend::attention(int layer) {
  attention_.attend(layer, query_.const_view(), attended_, layer_at(layer).o);
}

void CpuBackend::o_proj(int layer) {
  project_into_residual(layer, Linear::kO, attended_, layer_at(layer).post_attention_norm);
}

void CpuBackend::gate_up(int layer) {
  const StageOrders& orders = layer_at(layer).gate_up;
  normalise(layer_at(layer).mlp_norm, spec_at(layer).rms_eps, orders);
  if (spec_at(layer).experts) {
    experts_.gate_up(expert_step(layer), normed_.const_view());
  } else {
    gate_up_without_experts(layer);
  }
}

void CpuBackend::gate_up_without_experts(int layer) {
  const StageOrders& orders = layer_at(layer).down;
  const bool finishes = StageRows::finishes_blocks(orders);
  shrink(layer, {Linear::kGate, Linear::kUp}, normed_);
  const auto multiply = spec_at(layer).activation == Activation::kSilu ? kernels_.silu_multiply
                                                                       : kernels_.gelu_multiply;
  const int pieces =
      num_pieces({&layer_at(layer).linear(Linear::kGate), &layer_at(layer).linear(Linear::kUp)});
  pool_.deal(pieces, [&](int piece) {
    project(projection(layer, Linear::kGate, 0, normed_, gate_.rows(), kTilesPerBlock), piece,
            pieces);
    const Range columns =
        project(projection(layer, Linear::kUp, 1, normed_, up_, kTilesPerBlock), piece, pieces);
    for (int row = 0; row < num_rows(); ++row) {
      multiply(gate_.row(row) + columns.begin, up_.row(row) + columns.begin,
               columns.end - columns.begin);
      if (finishes) gate_.finish(row, blocks_of_columns(columns));
    }
  });
  if (!finishes) gate_.finish_all(num_rows(), orders, pool_);
}

void CpuBackend::down(int layer) {
  const float* post_norm = layer_at(layer).post_mlp_norm;
  if (!spec_at(layer).experts) {
    project_into_residual(layer, Linear::kDown, gate_, post_norm);
    return;
  }
  experts_.down(expert_step(layer), projected_.view());
  add_projected(layer, post_norm);
}

// No layer needs normed_ any more: state i is its row i.
void CpuBackend::normalise_states() {
  const int rows = static_cast<int>(input_.state_rows.size());
  if (rows == 0) return;
  pool_.run([&](int thread) {
    const Range mine = part_of(rows, thread, pool_.num_threads());
    for (int i = mine.begin; i < mine.end; ++i) {
      const float* x = residual_row(input_.state_rows[static_cast<std::size_t>(i)]);
      kernels_.rms_norm(x, final_norm_, spec_.final_rms_eps, spec_.hidden, normed_.row(i));
    }
  });
}

void CpuBackend::head() {
  normalise_states();
  const int rows = static_cast<int>(input_.head_rows.size());
  if (rows == 0) return;
  pool_.run([&](int thread) {
    const Range mine = part_of(rows, thread, pool_.num_threads());
    for (int i = mine.begin; i < mine.end; ++i) {
      const float* x = residual_row(input_.head_rows[static_cast<std::size_t>(i)]);
      kernels_.rms_norm(x, final_norm_, spec_.final_rms_eps, spec_.hidden, head_input_.row(i));
      head_input_.finish(i, head_orders_);
    }
  });
  const LoraSite site{.is_head = true};
  lora_.plan(std::span(terms_of_head_row_).first(input_.head_rows.size()));
  lora_.shrink(std::span(&site, 1), spec_.hidden, head_input_.const_view(), pool_);
  const int pieces = num_pieces({&head_});
  pool_.deal(pieces, [&](int piece) {
    const Range columns =
        project({head_, site, 0, head_input_.activations(head_.order), logits_.view(), rows}, piece,
                pieces);
    const int count =
        round_up_to_lanes(columns.end) - columns.begin;  // what is past the end is room
    for (int i = 0; i < rows; ++i) {
      float* y = logits_.row(i) + columns.begin;
      if (spec_.logit_scale != 1.0F) kernels_.scale(y, spec_.logit_scale, count);
      if (spec_.logit_softcap > 0.0F) kernels_.softcap(y, spec_.logit_softcap, count);
    }
  });
}

std::size_t CpuBackend::weight_bytes() const {
  std::size_t bytes = head_.weights.bytes();
  for (const CpuLayer& layer : layers_) {
    for (const BaseLinear& linear : layer.linears) bytes += linear.weights.bytes();
    std::size_t of_experts = 0;
    for (const CpuExpert& expert : layer.experts) {
      for (const BaseLinear& linear : expert.linears) of_experts += linear.weights.bytes();
    }
    if (of_experts > 0)
      bytes +=
          of_experts / layer.experts.size() * static_cast<std::size_t>(spec_.experts_per_token);
  }
  return bytes;
}

std::span<const float> CpuBackend::logits(int i) {
  return {logits_.row(i), static_cast<std::size_t>(spec_.vocab_size)};
}

std::span<const float> CpuBackend::state(int i) {
  return {normed_.row(i), static_cast<std::size_t>(spec_.hidden)};
}

std::span<const float> CpuBackend::residual() {
  return {residual_.data(), elements(num_rows(), spec_.hidden)};
}

// --- projections ----------------------------------------------------------------------------

float* CpuBackend::residual_row(int row) {
  return residual_.data() + elements(row, spec_.hidden);
}

void CpuBackend::normalise(const float* weight, float eps, const StageOrders& orders) {
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      if (weight == nullptr) {
        std::copy_n(residual_row(row), spec_.hidden, normed_.row(row));
      } else {
        kernels_.rms_norm(residual_row(row), weight, eps, spec_.hidden, normed_.row(row));
      }
      normed_.finish(row, orders);
    }
  });
}

void CpuBackend::shrink(int layer, std::initializer_list<Linear> linears, const StageRows& x) {
  std::array<LoraSite, 3> sites;
  std::transform(linears.begin(), linears.end(), sites.begin(),
                 [&](Linear linear) { return LoraSite{.layer = layer, .linear = linear}; });
  const int in_features = spec_.shape(*linears.begin()).in_features;
  lora_.shrink(std::span(sites).first(linears.size()), in_features, x.const_view(), pool_);
}

CpuBackend::Projection CpuBackend::projection(int layer, Linear linear, int site_index,
                                              const StageRows& x, ActivationRows& y,
                                              int grain) const {
  const BaseLinear& base = layer_at(layer).linear(linear);
  return {base,       LoraSite{.layer = layer, .linear = linear},
          site_index, x.activations(base.order),
          y.view(),   num_rows(),
          grain};
}

int CpuBackend::num_pieces(std::initializer_list<const BaseLinear*> linears) const {
  std::size_t bytes = 0;
  for (const BaseLinear* linear : linears) bytes += linear->weights.bytes();
  const auto threads = static_cast<std::size_t>(pool_.num_threads());
  const auto of_thread = static_cast<int>(
      std::min<std::size_t>(bytes / threads / kPieceBytes, std::size_t{kMaxPiecesPerThread}));
  return std::max(of_thread, 1) * pool_.num_threads();
}

Range CpuBackend::project(const Projection& p, int piece, int num_pieces) const {
  const TiledMatrix& weights = p.linear.weights;
  const Range grains = part_of(weights.tiles() / p.grain, piece, num_pieces);
  const Range tiles{grains.begin * p.grain, grains.end * p.grain};
  const int out_features = weights.out_features();
  const Range columns{tiles.begin * kTileFeatures,
                      std::min(tiles.end * kTileFeatures, out_features)};
  weights.multiply()(weights.view(), tiles.begin, tiles.end, p.x, p.rows, p.y);
  if (p.site.is_head) lora_.replace_logits(columns, head_input_.const_view(), p.y);
  lora_.expand(p.site, p.site_index, out_features, columns, p.y);
  if (p.linear.bias == nullptr) return columns;
  for (int row = 0; row < p.rows; ++row) {
    float* y = p.y.data + static_cast<std::size_t>(row) * p.y.stride;
    for (int n = columns.begin; n < columns.end; ++n) y[n] += p.linear.bias[n];
  }
  return columns;
}

// Without a norm of what was projected, whoever has computed columns adds them.
void CpuBackend::project_into_residual(int layer, Linear linear, const StageRows& x,
                                       const float* post_norm) {
  shrink(layer, {linear}, x);
  const float scale = spec_at(layer).residual_scale;
  const int pieces = num_pieces({&layer_at(layer).linear(linear)});
  pool_.deal(pieces, [&](int piece) {
    const Range columns = project(projection(layer, linear, 0, x, projected_), piece, pieces);
    for (int row = 0; post_norm == nullptr && row < num_rows(); ++row) {
      kernels_.add_scaled(residual_row(row) + columns.begin, projected_.row(row) + columns.begin,
                          scale, columns.end - columns.begin);
    }
  });
  if (post_norm != nullptr) add_projected(layer, post_norm);
}

void CpuBackend::add_projected(int layer, const float* post_norm) {
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; row < rows.end; ++row) {
      float* y = projected_.row(row);
      if (post_norm != nullptr) {
        kernels_.rms_norm(y, post_norm, spec_at(layer).rms_eps, spec_.hidden, y);
      }
      kernels_.add_scaled(residual_row(row), y, spec_at(layer).residual_scale, spec_.hidden);
    }
  });
}

ExpertStep CpuBackend::expert_step(int layer) const {
  return {layer, layer_at(layer), num_rows(), std::span(terms_of_row_).first(input_.tokens.size())};
}

// --- queries, keys and values ---------------------------------------------------------------

// Then the columns of q, k and v in a piece are whole heads. Not at the cost of an uneven share.
bool CpuBackend::deals_whole_heads(int layer) const {
  return spec_.head_dim % kTileFeatures == 0 && spec_.num_kv_heads % pool_.num_threads() == 0 &&
         spec_at(layer).qk_norm != QkNorm::kWhole;
}

void CpuBackend::rotate_and_store(int layer, Range rows, int piece, int num_pieces) {
  const Range heads = part_of(spec_.num_heads, piece, num_pieces);
  const Range kv_heads = part_of(spec_.num_kv_heads, piece, num_pieces);
  const bool each = spec_at(layer).qk_norm == QkNorm::kPerHead;
  const float* q_norm = each ? layer_at(layer).q_norm : nullptr;
  const float* k_norm = each ? layer_at(layer).k_norm : nullptr;
  const int dim = spec_.head_dim;
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int head = heads.begin; head < heads.end; ++head) {
      rotate(layer, row, q_norm, query_.row(row) + head * dim);
    }
    for (int head = kv_heads.begin; head < kv_heads.end; ++head) {
      rotate(layer, row, k_norm, key_.row(row) + head * dim);
      attention_.store(layer, seq_of_row_[static_cast<std::size_t>(row)],
                       input_.positions[static_cast<std::size_t>(row)], head,
                       key_.row(row) + head * dim, value_.row(row) + head * dim);
    }
  }
}

void CpuBackend::rotate_and_store_by_rows(int layer) {
  const bool whole = spec_at(layer).qk_norm == QkNorm::kWhole;
  pool_.run([&](int thread) {
    const Range rows = part_of(num_rows(), thread, pool_.num_threads());
    for (int row = rows.begin; whole && row < rows.end; ++row) normalise_whole(layer, row);
    rotate_and_store(layer, rows, 0, 1);
  });
}

void CpuBackend::normalise_whole(int layer, int row) {
  const CpuLayer& weights = layer_at(layer);
  const float eps = spec_at(layer).rms_eps;
  float* q = query_.row(row);
  float* k = key_.row(row);
  kernels_.rms_norm(q, weights.q_norm, eps, spec_.q_dim(), q);
  kernels_.rms_norm(k, weights.k_norm, eps, spec_.kv_dim(), k);
}

// Normalises the head first, if there is a norm.
void CpuBackend::rotate(int layer, int row, const float* norm, float* head) {
  const int rope = spec_at(layer).rope;
  if (norm != nullptr) kernels_.rms_norm(head, norm, spec_at(layer).rms_eps, spec_.head_dim, head);
  if (rope == kNoRope) return;
  kernels_.rotate(head, rotary_.cosine(rope, row), rotary_.sine(rope, row), rotary_.half(rope));
}

std::unique_ptr<Backend> make_cpu_backend(const ModelWeights& weights, const BackendLimits& limits,
                                          std::string_view force) {
  return std::make_unique<CpuBackend>(weights, limits, kernels_of(choose_cpu_path(force)));
}

}  // namespace tessera
