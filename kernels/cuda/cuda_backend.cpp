#include "kernels/cuda/cuda_backend.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/activations.hpp"
#include "kernels/cuda/adapter_store.hpp"
#include "kernels/cuda/attention_kernels.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/device_model.hpp"
#include "kernels/cuda/device_needs.hpp"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/granule_pool.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/linear_dense.hpp"
#include "kernels/cuda/lora_kernels.hpp"
#include "kernels/cuda/row_kernels.hpp"
#include "kernels/cuda/step_arena.hpp"
#include "kernels/cuda/token_drawer.hpp"

namespace tessera {
namespace {

constexpr int kStagesOfLayer = 5;

std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

int bucket_of(int rows) {
  const auto found = std::lower_bound(kGraphBuckets.begin(), kGraphBuckets.end(), rows);
  return found == kGraphBuckets.end() ? rows : *found;
}

// Looks before anything is allocated whether all has room.
std::size_t checked_free_bytes(const ModelWeights& weights, const BackendLimits& limits,
                               const CudaOptions& options) {
  const std::size_t free = device_memory().free_bytes;
  divide_device(weights.spec, limits, options.max_graph_rows, free,
                DeviceModel::bytes_for(weights, limits.head_form));
  return free;
}

BackendLimits with_blocks(BackendLimits limits, int num_blocks) {
  limits.num_blocks = num_blocks;
  return limits;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const ModelWeights& weights, const BackendLimits& limits, const CudaOptions& options);
  ~CudaBackend() override;

  std::string_view name() const override { return "cuda"; }
  PageType page_type() const override { return PageType::kBf16; }
  std::size_t weight_bytes() const override { return model_.bytes(); }
  const MemoryDivision* memory() const override { return &memory_; }

  AdapterSlot add_adapter(const LoraView& adapter) override { return adapters_.add(adapter); }
  void remove_adapter(AdapterSlot slot) override { adapters_.remove(slot); }

  void begin(const StepInput& input) override;
  void embed() override { note(0); }
  void qkv(int layer) override { note(stage_index(layer, 0)); }
  void attention(int layer) override { note(stage_index(layer, 1)); }
  void o_proj(int layer) override { note(stage_index(layer, 2)); }
  void gate_up(int layer) override { note(stage_index(layer, 3)); }
  void down(int layer) override { note(stage_index(layer, 4)); }
  void head() override;

  bool draws() const override { return spec_.vocab_size <= kMaxDrawnVocab; }
  std::span<const DrawnToken> draw(std::span<const DrawRow> rows) override;
  std::span<const float> logits(int i) override;
  std::span<const float> state(int i) override;
  std::span<const float> residual() override;

 private:
  static int stage_index(int layer, int stage) { return 1 + layer * kStagesOfLayer + stage; }
  int num_stages() const { return stage_index(spec_.num_layers(), 0) + 1; }

  // Notes a stage, or launches it if the step is not for a graph.
  void note(int stage);
  void launch_noted();
  void run_stage(int stage);
  void require_part(int stage);
  void capture_graphs();
  CudaGraph capture(int capacity, bool lora);
  void enqueue_step(int capacity, bool lora);

  void run_prologue();
  void run_embed();
  void run_qkv(int layer);
  void run_attention(int layer);
  void run_o_proj(int layer);
  void run_gate_up(int layer);
  void run_down(int layer);
  void run_head();

  void run_gate_up_experts(int layer);
  void run_down_experts(int layer);
  void multiply_expert_linears(int layer, int first, int count);

  // y = W x + B (A x) of modules that read the same input; those of a layer that follow each other.
  void run_linears(int layer, std::span<const Linear> linears);
  void multiply_all(std::span<const PackedMatrix> matrices, float* y, int y_stride,
                    const std::int32_t* num_rows, int capacity);
  void multiply_one(const PackedMatrix* first, int count, float* y, int y_stride,
                    const std::int32_t* num_rows, int capacity);
  void add_residual(int layer, Linear linear, const DeviceVector& post_norm);
  void normalise(const float* weight, float eps);
  void fetch_states();
  void fetch_logits(int i);

  const LayerSpec& layer_spec(int layer) const {
    return spec_.layers[static_cast<std::size_t>(layer)];
  }
  const DeviceStep& step() const { return arena_.device(); }
  KvCache make_cache();
  LoraLimits lora_limits() const { return lora_limits_of(spec_, limits_); }
  AttentionLimits attention_limits() const { return attention_limits_of(spec_, limits_); }

  const ModelSpec spec_;
  const std::size_t free_bytes_;  // at the start; looked at before anything is allocated
  CudaStream stream_;
  DeviceModel model_;
  const MemoryDivision memory_;
  const BackendLimits limits_;
  StepArena arena_;
  Activations on_;
  ExpertActivations on_experts_;
  DeviceBuffer<float> rope_tables_;  // (ropes, rows, pairs of the widest, 2)
  DeviceBuffer<std::byte> lora_workspace_;
  DeviceBuffer<std::byte> expert_lora_workspace_;
  DeviceBuffer<std::byte> attention_workspace_;
  TokenDrawer drawer_;
  PinnedBuffer<float> host_logits_;
  PinnedBuffer<float> host_states_;
  std::vector<float> host_residual_;
  GranulePool pool_;
  KvCache cache_;
  AdapterStore adapters_;
  LoraModuleNumbers modules_;
  LoraWork lora_;
  LoraWork expert_lora_;

  // What launches are for.
  int capacity_ = 0;
  int head_capacity_ = 0;
  bool has_lora_ = false;
  bool is_loading_ = false;  // parts of the step's adapters are sent as it goes

  int num_noted_ = 0;             // stages of the step
  bool is_noting_ = false;        // they were noted and not launched
  bool has_states_ = false;       // they were waited for
  bool has_drawn_ = false;        // so that few of the logits are wanted here
  std::vector<bool> has_logits_;  // (max_logit_rows,) in host_logits_
  int max_graph_rows_;
  const int dense_rows_;
  std::optional<DenseLinear> dense_;
  struct Graphs {
    int capacity;
    CudaGraph base;
    CudaGraph lora;
  };
  std::vector<Graphs> graphs_;
};

CudaBackend::CudaBackend(const ModelWeights& weights, const BackendLimits& limits,
                         const CudaOptions& options)
    : spec_(weights.spec),
      free_bytes_(checked_free_bytes(weights, limits, options)),
      model_(weights, limits.head_form, stream_),
      memory_(divide_device(spec_, limits, options.max_graph_rows, free_bytes_,
                            free_bytes_ - std::min(free_bytes_, device_memory().free_bytes))),
      limits_(with_blocks(limits, memory_.num_blocks)),
      arena_(limits_, table_blocks(limits_)),
      on_(spec_, limits_),
      on_experts_(spec_, limits_),
      rope_tables_(rope_floats(spec_, limits_)),
      lora_workspace_(lora_workspace_bytes(lora_limits())),
      expert_lora_workspace_(expert_lora_bytes(spec_, limits_)),
      attention_workspace_(attention_workspace_bytes(attention_limits())),
      drawer_(limits_.max_logit_rows, spec_.vocab_size),
      host_logits_(on_.logits.size()),
      host_states_(on_.x.size()),
      host_residual_(on_.x.size()),
      // KV begins and ends at a granule.
      pool_(memory_.kv_bytes + memory_.adapter_bytes + GranulePool::kGranule),
      cache_(make_cache()),
      adapters_(spec_, pool_, limits_.max_adapters),
      modules_(spec_),
      lora_{step(), adapters_.table(), lora_limits(), lora_workspace_.data()},
      expert_lora_{step(), adapters_.table(), expert_lora_limits_of(spec_, limits_),
                   expert_lora_workspace_.data()},
      has_logits_(static_cast<std::size_t>(limits_.max_logit_rows)),
      max_graph_rows_(std::min(options.max_graph_rows, kGraphBuckets.back())),
      dense_rows_(options.dense_rows) {
  if (dense_rows_ > 0) {
    dense_.emplace(std::max(spec_.vocab_size, Activations::widest_output(spec_)),
                   Activations::widest_input(spec_));
  }
  capture_graphs();
}

CudaBackend::~CudaBackend() {
  try {
    stream_.synchronize();
  } catch (const CudaError&) {  // the device is gone, and its memory with it
  }
}

// Elements, then scales from a multiple of 256 bytes on.
KvCache CudaBackend::make_cache() {
  const std::size_t rows =
      kv_rows_of_block(spec_, limits_) * static_cast<std::size_t>(limits_.num_blocks);
  const bool is_int8 = limits_.kv_form == KvForm::kInt8;
  const std::size_t elements =
      (rows * static_cast<std::size_t>(spec_.head_dim) * (is_int8 ? 1 : 2) + 255) / 256 * 256;
  KvCache cache;
  cache.elements = pool_.allocate(elements + (is_int8 ? rows * sizeof(float) : 0));
  cache.scales = reinterpret_cast<float*>(cache.elements + elements);
  cache.form = limits_.kv_form;
  cache.num_blocks = limits_.num_blocks;
  cache.block_size = limits_.block_size;
  cache.num_kv_heads = spec_.num_kv_heads;
  cache.head_dim = spec_.head_dim;
  return cache;
}

// ---- A step: noting, launching, graphs.

void CudaBackend::begin(const StepInput& input) {
  arena_.send(input, stream_);
  is_loading_ = !adapters_.has_sent(arena_.used_slots());
  if (!is_loading_) adapters_.require(arena_.used_slots(), adapters_.last_part(), stream_);
  capacity_ = bucket_of(arena_.num_rows());
  head_capacity_ = arena_.num_head_rows();
  has_lora_ = !arena_.used_slots().empty();
  num_noted_ = 0;
  is_noting_ = capacity_ <= max_graph_rows_ && !is_loading_;
  has_states_ = has_drawn_ = false;
  has_logits_.assign(has_logits_.size(), false);
  if (!is_noting_) run_prologue();
}

// Stages come in their order (backend.hpp); num_noted_ is the next.
void CudaBackend::note(int stage) {
  assert(stage == num_noted_);
  ++num_noted_;
  if (!is_noting_) run_stage(stage);
}

void CudaBackend::launch_noted() {
  if (!is_noting_) return;
  is_noting_ = false;
  run_prologue();
  for (int stage = 0; stage < num_noted_; ++stage) run_stage(stage);
}

void CudaBackend::head() {
  const bool whole = is_noting_ && num_noted_ == num_stages() - 1;
  if (whole) {
    const auto graphs = std::find_if(graphs_.begin(), graphs_.end(), [&](const Graphs& graph) {
      return graph.capacity == capacity_;
    });
    stream_.launch(has_lora_ ? graphs->lora : graphs->base);
    is_noting_ = false;
    ++num_noted_;
  } else {
    launch_noted();
    note(num_stages() - 1);
  }
  is_loading_ = false;
  adapters_.advance();
  adapters_.note_step(stream_);
  if (arena_.num_state_rows() > 0) fetch_states();
}

// Few steps have states to tell: their kernel is in no graph. Nothing reads `input` any more.
void CudaBackend::fetch_states() {
  normalise_rows(stream_,
                 {arena_.device_of_states(), on_.x.data(), model_.final_norm(), spec_.final_rms_eps,
                  spec_.hidden, on_.input.data(), on_.staged(), true},
                 arena_.num_state_rows());
  stream_.copy_to_host(host_states_.data(), on_.input.data(),
                       area(arena_.num_state_rows(), spec_.hidden) * sizeof(float));
}

std::span<const float> CudaBackend::state(int i) {
  if (!has_states_) stream_.synchronize();
  has_states_ = true;
  const auto width = static_cast<std::size_t>(spec_.hidden);
  return host_states_.span().subspan(static_cast<std::size_t>(i) * width, width);
}

std::span<const DrawnToken> CudaBackend::draw(std::span<const DrawRow> rows) {
  has_drawn_ = true;
  return drawer_.draw(rows, on_.logits.data(), stream_);
}

// Whoever draws here wants single rows of the others; whoever does not wants all of them.
void CudaBackend::fetch_logits(int i) {
  const int first = has_drawn_ ? i : 0;
  const int end = has_drawn_ ? i + 1 : arena_.num_head_rows();
  const std::size_t offset = area(first, spec_.vocab_size);
  stream_.copy_to_host(host_logits_.data() + offset, on_.logits.data() + offset,
                       area(end - first, spec_.vocab_size) * sizeof(float));
  stream_.synchronize();
  std::fill(has_logits_.begin() + first, has_logits_.begin() + end, true);
}

std::span<const float> CudaBackend::logits(int i) {
  if (!has_logits_[static_cast<std::size_t>(i)]) fetch_logits(i);
  const auto width = static_cast<std::size_t>(spec_.vocab_size);
  return host_logits_.span().subspan(static_cast<std::size_t>(i) * width, width);
}

std::span<const float> CudaBackend::residual() {
  launch_noted();
  const std::size_t count = area(arena_.num_rows(), spec_.hidden);
  stream_.copy_to_host(host_residual_.data(), on_.x.data(), count * sizeof(float));
  stream_.synchronize();
  return std::span(host_residual_).first(count);
}

// A step of no rows runs every kernel once, so that none is loaded while a graph is captured.
void CudaBackend::capture_graphs() {
  const std::int32_t zero[] = {0};
  const StepInput nothing{{}, {}, zero, {}, zero, {}, {}};
  arena_.send(nothing, stream_);
  if (max_graph_rows_ == 0) return;
  for (const int capacity : {1, 16, 64}) {
    for (const bool lora : {false, true}) enqueue_step(std::min(capacity, max_graph_rows_), lora);
  }
  stream_.synchronize();
  for (const int capacity : kGraphBuckets) {
    if (capacity > max_graph_rows_) break;
    graphs_.push_back({capacity, capture(capacity, false), capture(capacity, true)});
  }
  max_graph_rows_ = graphs_.back().capacity;
}

CudaGraph CudaBackend::capture(int capacity, bool lora) {
  stream_.begin_capture();
  enqueue_step(capacity, lora);
  return stream_.end_capture();
}

void CudaBackend::enqueue_step(int capacity, bool lora) {
  capacity_ = capacity;
  head_capacity_ = std::min(capacity, limits_.max_logit_rows);
  has_lora_ = lora;
  run_prologue();
  for (int stage = 0; stage < num_stages(); ++stage) run_stage(stage);
}

// Before a stage that begins a part of an adapter which is still to be sent.
void CudaBackend::require_part(int stage) {
  const bool is_layer = stage > 0 && stage < num_stages() - 1;
  if (is_layer && (stage - 1) % kStagesOfLayer != 0) return;
  const int layer = is_layer ? (stage - 1) / kStagesOfLayer : stage == 0 ? -1 : spec_.num_layers();
  adapters_.require(arena_.used_slots(), AdapterStore::part_of_layer(layer), stream_);
}

void CudaBackend::run_stage(int stage) {
  if (is_loading_) require_part(stage);
  if (stage == 0) return run_embed();
  if (stage == num_stages() - 1) return run_head();
  const int layer = (stage - 1) / kStagesOfLayer;
  switch ((stage - 1) % kStagesOfLayer) {
    case 0:
      return run_qkv(layer);
    case 1:
      return run_attention(layer);
    case 2:
      return run_o_proj(layer);
    case 3:
      return run_gate_up(layer);
    default:
      return run_down(layer);
  }
}

// ---- The stages.

void CudaBackend::run_prologue() {
  if (has_lora_) plan_lora(stream_, lora_, capacity_);
  const std::size_t stride = area(limits_.max_rows, 2 * widest_rope(spec_));
  for (std::size_t i = 0; i < spec_.ropes.size(); ++i) {
    const DeviceRope& rope = model_.rope(static_cast<int>(i));
    fill_rope_table(stream_,
                    {step(), rope.inv_freq.data(), rope.long_inv_freq.data(),
                     static_cast<int>(rope.inv_freq.size()), spec_.ropes[i].scale,
                     rope_tables_.data() + i * stride},
                    capacity_);
  }
}

void CudaBackend::run_embed() {
  embed_rows(stream_, {step(), model_.embedding(), on_.x.data()}, capacity_);
  if (has_lora_) {
    apply_lora_to_embedding(stream_, lora_, spec_.vocab_size, spec_.hidden, on_.x.data(),
                            capacity_);
  }
  if (spec_.embedding_scale == 1.0F) return;
  scale_rows(stream_, {step(), on_.x.data(), spec_.hidden, spec_.embedding_scale}, capacity_);
}

void CudaBackend::normalise(const float* weight, float eps) {
  normalise_rows(
      stream_,
      {step(), on_.x.data(), weight, eps, spec_.hidden, on_.input.data(), on_.staged(), false},
      capacity_);
}

// Matrices of one form and without an order go in one launch.
void CudaBackend::multiply_all(std::span<const PackedMatrix> matrices, float* y, int y_stride,
                               const std::int32_t* num_rows, int capacity) {
  for (std::size_t i = 0; i < matrices.size();) {
    std::size_t end = i + 1;
    int columns = matrices[i].rows;
    while (end < matrices.size() && matrices[i].order == nullptr &&
           matrices[end].order == nullptr && matrices[end].form == matrices[i].form) {
      columns += matrices[end++].rows;
    }
    multiply_one(&matrices[i], static_cast<int>(end - i), y, y_stride, num_rows, capacity);
    y += columns;
    i = end;
  }
}

void CudaBackend::multiply_one(const PackedMatrix* first, int count, float* y, int y_stride,
                               const std::int32_t* num_rows, int capacity) {
  LinearGroup group;
  std::copy_n(first, count, group.matrices);
  group.count = count;
  group.x = on_.staged();
  group.y = y;
  group.y_stride = y_stride;
  group.num_rows = num_rows;
  if (first->order != nullptr) {
    group.x = on_.ordered();
    stage_rows(stream_, {num_rows, on_.input.data(), first->order, first->cols, group.x}, capacity);
  }
  if (dense_ && capacity >= dense_rows_ && capacity > max_graph_rows_) {
    dense_->multiply(stream_, group, capacity);
  } else {
    multiply(stream_, group, capacity);
  }
}

void CudaBackend::run_linears(int layer, std::span<const Linear> linears) {
  std::array<PackedMatrix, 3> matrices;
  LoraModules modules;
  modules.first_module = modules_.of(layer, linears[0]);
  modules.count = static_cast<int>(linears.size());
  modules.in_features = spec_.shape(linears[0]).in_features;
  modules.x = on_.input.data();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    matrices[i] = model_.layer(layer).linears[static_cast<std::size_t>(linears[i])].view();
    modules.out_features[i] = matrices[i].rows;
    modules.y[i] = on_.y.data() + modules.y_stride;
    modules.y_stride += matrices[i].rows;
  }
  multiply_all(std::span(matrices).first(linears.size()), on_.y.data(), modules.y_stride,
               &step().counts->rows, capacity_);
  if (has_lora_) apply_lora(stream_, lora_, modules, capacity_);
}

void CudaBackend::run_qkv(int layer) {
  const LayerSpec& spec = layer_spec(layer);
  const DeviceLayer& weights = model_.layer(layer);
  normalise(weights.attention_norm.data(), spec.rms_eps);
  run_linears(layer, std::array{Linear::kQ, Linear::kK, Linear::kV});
  FinishQkvParams params;
  params.step = step();
  params.qkv = on_.y.data();
  params.q_bias = weights.biases[0].data();
  params.k_bias = weights.biases[1].data();
  params.v_bias = weights.biases[2].data();
  params.q_norm = weights.q_norm.data();
  params.k_norm = weights.k_norm.data();
  params.qk_norm = spec.qk_norm;
  params.eps = spec.rms_eps;
  if (spec.rope != kNoRope) {
    const auto rope = static_cast<std::size_t>(spec.rope);
    params.rope_table = rope_tables_.data() + rope * area(limits_.max_rows, 2 * widest_rope(spec_));
    params.rope_pairs = static_cast<int>(spec_.ropes[rope].inv_freq.size());
  }
  params.num_heads = spec_.num_heads;
  params.layer = layer;
  params.cache = cache_;
  finish_qkv(stream_, params, capacity_);
}

// Puts out the input of o_proj.
void CudaBackend::run_attention(int layer) {
  const LayerSpec& spec = layer_spec(layer);
  AttentionParams params;
  params.step = step();
  params.cache = cache_;
  params.limits = attention_limits();
  params.layer = layer;
  params.window = spec.window;
  params.scale = spec.attention_scale;
  params.softcap = spec.attention_softcap;
  params.q = on_.y.data();
  params.q_stride = spec_.q_dim() + 2 * spec_.kv_dim();
  params.output = on_.input.data();
  params.workspace = attention_workspace_.data();
  attend(stream_, params, capacity_);
}

void CudaBackend::add_residual(int layer, Linear linear, const DeviceVector& post_norm) {
  const LayerSpec& spec = layer_spec(layer);
  const DeviceVector& bias = model_.layer(layer).biases[static_cast<std::size_t>(linear)];
  add_to_residual(stream_,
                  {step(), on_.y.data(), bias.data(), post_norm.data(), spec.rms_eps,
                   spec.residual_scale, spec_.hidden, on_.x.data()},
                  capacity_);
}

void CudaBackend::run_o_proj(int layer) {
  stage_rows(stream_,
             {&step().counts->rows, on_.input.data(), nullptr, spec_.q_dim(), on_.staged()},
             capacity_);
  run_linears(layer, std::array{Linear::kO});
  add_residual(layer, Linear::kO, model_.layer(layer).post_attention_norm);
}

void CudaBackend::run_gate_up(int layer) {
  const DeviceLayer& weights = model_.layer(layer);
  normalise(weights.mlp_norm.data(), layer_spec(layer).rms_eps);
  if (layer_spec(layer).experts) return run_gate_up_experts(layer);
  run_linears(layer, std::array{Linear::kGate, Linear::kUp});
  gate_rows(stream_,
            {&step().counts->rows, on_.y.data(),
             weights.biases[static_cast<std::size_t>(Linear::kGate)].data(),
             weights.biases[static_cast<std::size_t>(Linear::kUp)].data(),
             layer_spec(layer).activation, spec_.intermediate, on_.input.data(), on_.staged()},
            capacity_);
}

// Some of kExpertLinears, of all places, with their adapters.
void CudaBackend::multiply_expert_linears(int layer, int first, int count) {
  const DeviceExperts& experts = model_.layer(layer).experts;
  const bool reads_rows = first == 0;  // gate and up; down reads what they have put out
  ExpertLinears linears;
  linears.matrices = experts.table();
  linears.shape = spec_.expert_shape(kExpertLinears[static_cast<std::size_t>(first)]);
  linears.routing = on_experts_.routing.view();
  linears.y_stride = count * linears.shape.out_features;
  const float* x = reads_rows ? on_.input.data() : on_experts_.gated.data();
  const std::int32_t* x_rows = reads_rows ? linears.routing.row_of : nullptr;
  for (int i = first; i < first + count; ++i) {
    linears.first = i;
    linears.y = on_experts_.y.data() + (i - first) * linears.shape.out_features;
    linears.x = reads_rows ? on_.staged() : on_experts_.staged();
    linears.x_rows = x_rows;
    if (experts.has_order(i)) {
      linears.x = on_experts_.staged();
      linears.x_rows = nullptr;
      stage_experts(
          stream_,
          {linears.routing, linears.matrices, i, x, x_rows, linears.shape.in_features, linears.x},
          capacity_);
    }
    for (const ExpertForm form : experts.forms(i)) {
      multiply_experts(stream_, linears, form, capacity_);
    }
  }
  if (!has_lora_) return;
  LoraModules modules;
  modules.first_module = modules_.of_experts(layer, first);
  modules.expert_stride = kNumExpertLinears;
  modules.count = count;
  modules.in_features = linears.shape.in_features;
  modules.x = x;
  modules.x_rows = x_rows;
  modules.y_stride = linears.y_stride;
  for (int i = 0; i < count; ++i) {
    modules.out_features[i] = linears.shape.out_features;
    modules.y[i] = on_experts_.y.data() + i * linears.shape.out_features;
  }
  apply_lora(stream_, expert_lora_, modules, capacity_ * spec_.experts_per_token);
}

void CudaBackend::run_gate_up_experts(int layer) {
  const ExpertRouting& routing = on_experts_.routing.view();
  route_rows(stream_,
             {step(), on_.input.data(), model_.layer(layer).router.data(), spec_.hidden,
              spec_.normalise_expert_weights, routing},
             capacity_);
  if (has_lora_) plan_expert_lora(stream_, expert_lora_, routing, capacity_);
  multiply_expert_linears(layer, 0, 2);
  gate_rows(
      stream_,
      {routing.num_places(), on_experts_.y.data(), nullptr, nullptr, layer_spec(layer).activation,
       spec_.expert_intermediate, on_experts_.gated.data(), on_experts_.staged()},
      capacity_ * spec_.experts_per_token);
}

// Sums what the experts put out, to where a layer without them has the output of down.
void CudaBackend::run_down_experts(int layer) {
  multiply_expert_linears(layer, 2, 1);
  sum_experts(
      stream_,
      {step(), on_experts_.routing.view(), on_experts_.y.data(), spec_.hidden, on_.y.data()},
      capacity_);
}

void CudaBackend::run_down(int layer) {
  if (layer_spec(layer).experts) {
    run_down_experts(layer);
  } else {
    run_linears(layer, std::array{Linear::kDown});
  }
  add_residual(layer, Linear::kDown, model_.layer(layer).post_mlp_norm);
}

void CudaBackend::run_head() {
  if (head_capacity_ == 0) return;
  normalise_rows(stream_,
                 {step(), on_.x.data(), model_.final_norm(), spec_.final_rms_eps, spec_.hidden,
                  on_.input.data(), on_.staged(), true},
                 head_capacity_);
  const PackedMatrix& matrix = model_.head();
  multiply_all({&matrix, 1}, on_.logits.data(), spec_.vocab_size, &step().counts->head_rows,
               head_capacity_);
  if (has_lora_) {
    replace_logits(stream_, lora_, spec_.vocab_size, spec_.hidden, on_.input.data(),
                   on_.logits.data(), head_capacity_);
    LoraModules modules;
    modules.first_module = modules_.head();
    modules.in_features = spec_.hidden;
    modules.out_features[0] = spec_.vocab_size;
    modules.x = on_.input.data();
    modules.y[0] = on_.logits.data();
    modules.y_stride = spec_.vocab_size;
    modules.of_head_rows = true;
    apply_lora(stream_, lora_, modules, head_capacity_);
  }
  if (spec_.logit_scale == 1.0F && spec_.logit_softcap == 0.0F) return;
  cap_logits(stream_,
             {step(), on_.logits.data(), spec_.vocab_size, spec_.logit_scale, spec_.logit_softcap},
             head_capacity_);
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights, const BackendLimits& limits,
                                           const CudaOptions& options) {
  return std::make_unique<CudaBackend>(weights, limits, options);
}

}  // namespace tessera
