#include "kernels/cuda/cuda_backend.hpp"

#include <algorithm>
#include <cassert>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/adapter_store.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/device_model.hpp"
#include "kernels/cuda/device_needs.hpp"
#include "kernels/cuda/granule_pool.hpp"
#include "kernels/cuda/lora_kernels.hpp"
#include "kernels/cuda/step_arena.hpp"
#include "kernels/cuda/step_stages.hpp"
#include "kernels/cuda/token_drawer.hpp"

namespace tessera {
namespace {

constexpr int kStagesOfLayer = 5;

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

int most_graph_rows(const CudaOptions& options) {
  return std::min(options.max_graph_rows, kGraphBuckets.back());
}

// StepStages' own: steps that are graphs have a bucket's bits.
int dense_from(const CudaOptions& options) {
  return options.dense_rows > 0 ? std::max(options.dense_rows, most_graph_rows(options) + 1) : 0;
}

// Of a KV block's elements.
std::size_t frame_bytes(const ModelSpec& spec, const BackendLimits& limits) {
  const KvCache cache = kv_layout_of(spec, limits);
  return cache.block_rows * cache.row_bytes();
}

std::size_t scale_floats(const ModelSpec& spec, const BackendLimits& limits, int num_blocks) {
  if (limits.kv_form != KvForm::kInt8) return 0;
  return kv_layout_of(spec, limits).block_rows * static_cast<std::size_t>(num_blocks);
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

  std::shared_ptr<std::byte> pinned_memory(std::size_t bytes) override;
  AdapterSlot add_adapter(const LoraView& adapter) override { return adapters_.add(adapter); }
  void remove_adapter(AdapterSlot slot) override { adapters_.remove(slot); }
  AdapterMemory adapter_memory() const override {
    return {pool_.given_bytes(), pool_.free_bytes()};
  }
  void lend_blocks(std::span<const BlockId> blocks) override {
    for (const BlockId block : blocks) pool_.give(block);
  }
  void take_blocks(int most, std::vector<BlockId>& blocks) override {
    adapters_.take_blocks(most, blocks, stream_);
  }

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

  void fetch_states();
  void fetch_logits(int i);
  KvCache cache();

  const ModelSpec spec_;
  const std::size_t free_bytes_;  // at the start; looked at before anything is allocated
  CudaStream stream_;
  DeviceModel model_;
  const MemoryDivision memory_;
  const BackendLimits limits_;
  StepArena arena_;
  TokenDrawer drawer_;
  GranulePool pool_;
  DeviceBuffer<float> kv_scales_;  // none but of 8 bits
  AdapterStore adapters_;
  StepStages stages_;
  PinnedBuffer<float> host_logits_;
  PinnedBuffer<float> host_states_;
  std::vector<float> host_residual_;

  StepCapacity capacity_;
  bool is_loading_ = false;  // parts of the step's adapters are sent as it goes

  int num_noted_ = 0;             // stages of the step
  bool is_noting_ = false;        // they were noted and not launched
  bool has_states_ = false;       // they were waited for
  bool has_drawn_ = false;        // so that few of the logits are wanted here
  std::vector<bool> has_logits_;  // (max_logit_rows,) in host_logits_
  int max_graph_rows_;
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
      drawer_(limits_.max_logit_rows, spec_.vocab_size),
      pool_(frame_bytes(spec_, limits_), memory_.blocks_in_all),
      kv_scales_(scale_floats(spec_, limits_, memory_.blocks_in_all)),
      adapters_(spec_, pool_, limits_.max_adapters),
      stages_({spec_, model_, arena_.device(), adapters_.table(), cache()}, limits_,
              dense_from(options), stream_),
      host_logits_(stages_.logits_size()),
      host_states_(stages_.residual_size()),
      host_residual_(stages_.residual_size()),
      has_logits_(static_cast<std::size_t>(limits_.max_logit_rows)),
      max_graph_rows_(most_graph_rows(options)) {
  for (int block = memory_.num_blocks; block < memory_.blocks_in_all; ++block) pool_.give(block);
  capture_graphs();
}

CudaBackend::~CudaBackend() {
  try {
    stream_.synchronize();
  } catch (const CudaError&) {  // the device is gone, and its memory with it
  }
}

KvCache CudaBackend::cache() {
  KvCache cache = kv_layout_of(spec_, limits_);
  cache.elements = pool_.memory();
  cache.scales = kv_scales_.data();
  return cache;
}

std::shared_ptr<std::byte> CudaBackend::pinned_memory(std::size_t bytes) {
  try {
    return {static_cast<std::byte*>(allocate_pinned(bytes)),
            [](std::byte* memory) { free_pinned(memory); }};
  } catch (const CudaError&) {
    return nullptr;  // the machine has too little that may be pinned
  }
}

void CudaBackend::begin(const StepInput& input) {
  arena_.send(input, stream_);
  is_loading_ = !adapters_.has_sent(arena_.used_slots());
  if (!is_loading_) adapters_.require(arena_.used_slots(), adapters_.last_part(), stream_);
  capacity_ = {bucket_of(arena_.num_rows()), arena_.num_head_rows(), !arena_.used_slots().empty()};
  num_noted_ = 0;
  is_noting_ = capacity_.rows <= max_graph_rows_ && !is_loading_;
  has_states_ = has_drawn_ = false;
  has_logits_.assign(has_logits_.size(), false);
  stages_.begin(capacity_);
  if (!is_noting_) stages_.prologue();
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
  stages_.prologue();
  for (int stage = 0; stage < num_noted_; ++stage) run_stage(stage);
}

void CudaBackend::head() {
  const bool whole = is_noting_ && num_noted_ == num_stages() - 1;
  if (whole) {
    const auto graphs = std::find_if(graphs_.begin(), graphs_.end(), [&](const Graphs& graph) {
      return graph.capacity == capacity_.rows;
    });
    stream_.launch(capacity_.has_lora ? graphs->lora : graphs->base);
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
  stages_.normalise_states(arena_.device_of_states(), arena_.num_state_rows());
  stream_.copy_to_host(host_states_.data(), stages_.states(),
                       device_area(arena_.num_state_rows(), spec_.hidden) * sizeof(float));
}

std::span<const float> CudaBackend::state(int i) {
  if (!has_states_) stream_.synchronize();
  has_states_ = true;
  const auto width = static_cast<std::size_t>(spec_.hidden);
  return host_states_.span().subspan(static_cast<std::size_t>(i) * width, width);
}

std::span<const DrawnToken> CudaBackend::draw(std::span<const DrawRow> rows) {
  has_drawn_ = true;
  return drawer_.draw(rows, stages_.logits(), stream_);
}

// Whoever draws here wants single rows of the others; whoever does not wants all of them.
void CudaBackend::fetch_logits(int i) {
  const int first = has_drawn_ ? i : 0;
  const int end = has_drawn_ ? i + 1 : arena_.num_head_rows();
  const std::size_t offset = device_area(first, spec_.vocab_size);
  stream_.copy_to_host(host_logits_.data() + offset, stages_.logits() + offset,
                       device_area(end - first, spec_.vocab_size) * sizeof(float));
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
  const std::size_t count = device_area(arena_.num_rows(), spec_.hidden);
  stream_.copy_to_host(host_residual_.data(), stages_.residual(), count * sizeof(float));
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
  capacity_ = {capacity, std::min(capacity, limits_.max_logit_rows), lora};
  stages_.begin(capacity_);
  stages_.prologue();
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
  if (stage == 0) return stages_.embed();
  if (stage == num_stages() - 1) return stages_.head();
  const int layer = (stage - 1) / kStagesOfLayer;
  switch ((stage - 1) % kStagesOfLayer) {
    case 0:
      return stages_.qkv(layer);
    case 1:
      return stages_.attention(layer);
    case 2:
      return stages_.o_proj(layer);
    case 3:
      return stages_.gate_up(layer);
    default:
      return stages_.down(layer);
  }
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights, const BackendLimits& limits,
                                           const CudaOptions& options) {
  return std::make_unique<CudaBackend>(weights, limits, options);
}

}  // namespace tessera
