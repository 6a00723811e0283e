// cpu_backend.hpp — the stages of a step on the cores of this machine.
//
// A stage is one to four runs of the thread pool with a barrier after each: normalise the rows;
// shrink by the adapters, if there are any; multiply, where each thread computes a range of output
// columns for all rows and finishes them (LoRA expand, bias, gate, residual) while they are in its
// cache. Where a thread's columns are whole heads, it also rotates them and writes the cache, else
// a run of its own does; likewise integers are made of what attention and the gate put out. What is
// computed on which thread depends on the step's shape alone, and how (kernel_table.hpp) on nothing
// but the row: P2.
//
// A path may multiply integers (kernel_table.hpp); LoRA and
// all else see fp32.
//
// The weights are repacked into tiles when the backend is made (tiled_matrix.hpp), and every array
// that a step touches is allocated then.
#pragma once

#include <array>
#include <initializer_list>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/attention_plan.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/kv_layout.hpp"
#include "kernels/cpu/rotary_table.hpp"
#include "kernels/cpu/segmented_lora.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/cpu/tiled_matrix.hpp"

namespace tessera {

// Rows of floats at a distance that is a multiple of a cache line but not of a page, so that the
// same column of many rows does not fall into one cache set.
class ActivationRows {
 public:
  ActivationRows(int rows, int width)
      : stride_(static_cast<std::size_t>((width + 31) / 32 * 32 + 32)),
        data_(static_cast<std::size_t>(rows) * stride_) {}

  float* row(int i) { return data_.data() + offset(i); }
  Rows view() { return {data_.data(), stride_}; }
  ConstRows const_view() const { return {data_.data(), stride_}; }

 protected:
  std::size_t stride() const { return stride_; }
  std::size_t offset(int row) const { return static_cast<std::size_t>(row) * stride_; }

 private:
  std::size_t stride_;
  AlignedBuffer<float> data_;
};

// Rows that will be multiplied. On a path that multiplies integers, quantise() makes these of a row
// that has been computed.
class MultipliedRows : public ActivationRows {
 public:
  MultipliedRows(int rows, int width, const KernelTable& kernels);

  bool has_integers() const { return quantise_ != nullptr; }
  int num_blocks() const { return num_blocks_; }
  void quantise(int i, Range blocks);
  void quantise(int i) { quantise(i, {0, num_blocks_}); }
  Activations activations() const;

 private:
  KernelTable::Quantise* quantise_;
  int num_blocks_;
  std::size_t panel_;  // elements
  std::size_t units_panel_;
  AlignedBuffer<std::int16_t> integers_;
  AlignedBuffer<float> units_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const ModelWeights& weights, const BackendLimits& limits, CpuPath path);

  std::string_view name() const override { return kernels_.name; }
  PageType page_type() const override { return PageType::kBf16; }
  std::size_t weight_bytes() const override;

  AdapterSlot add_adapter(const LoraView& adapter) override { return lora_.add(adapter); }
  void remove_adapter(AdapterSlot slot) override { lora_.remove(slot); }

  void begin(const StepInput& input) override;
  void embed() override;
  void qkv(int layer) override;
  void attention(int layer) override;
  void o_proj(int layer) override;
  void gate_up(int layer) override;
  void down(int layer) override;
  void head() override;

  std::span<const float> logits(int i) override;
  std::span<const float> residual() override;

 private:
  struct Layer {
    std::array<TiledMatrix, kNumLinears> linears;
    std::array<const float*, 3> bias;
    const float* attention_norm;
    const float* mlp_norm;
  };

  // A projection as one of the threads sees it.
  struct Projection {
    const TiledMatrix& weights;
    KernelTable::Multiply* multiply;
    LoraSite site;
    int site_index;
    Activations x;
    Rows y;
    int rows;
    int grain = 1;  // tiles that are not dealt to different threads
  };

  int num_rows() const { return static_cast<int>(input_.tokens.size()); }
  const Layer& layer_at(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  const LayerSpec& spec_at(int layer) const {
    return spec_.layers[static_cast<std::size_t>(layer)];
  }
  float* residual_row(int row);
  void spread_cache_over_nodes();

  void normalise(const float* weight, float eps);
  void quantise(MultipliedRows& x);
  void shrink(int layer, std::initializer_list<Linear> linears, const MultipliedRows& x);
  Projection projection(int layer, Linear linear, int site_index, const MultipliedRows& x,
                        ActivationRows& y, int grain = 1) const;
  // The thread's columns of y = W x + B z; returns which they are.
  Range project(const Projection& projection, int thread) const;
  void add_bias(const float* bias, Range columns, ActivationRows& y);
  void project_into_residual(int layer, Linear linear, MultipliedRows& x);

  bool deals_whole_heads() const;
  // Rotates q and k and writes k and v to the cache: a thread's heads of some rows.
  void rotate_and_store(int layer, Range rows, int thread, int num_threads);
  void rotate_and_store_by_rows(int layer);
  void rotate(ActivationRows& x, int row, int head);
  void store(int layer, int row, int kv_head);

  void join_divided(int layer);
  void attend(int layer, const AttentionShare& share);
  AttendTask attend_task(int layer, const AttentionShare& share);
  float* records_of(const AttentionShare& share);
  bool attends_whole_blocks() const { return group_ * spec_.head_dim % kNf4Block == 0; }
  void quantise_attended(const AttentionShare& share);
  std::byte* cache_of(int layer);
  std::span<const BlockId> blocks_of(int seq) const;

  const ModelSpec spec_;
  const BackendLimits limits_;
  const KernelTable& kernels_;
  const int group_;  // query heads that share a KV head
  ThreadPool pool_;

  const Bf16* embedding_;  // (vocab, hidden), the caller's
  const float* final_norm_;
  std::vector<Layer> layers_;
  TiledMatrix head_;

  KvLayout kv_layout_;
  AlignedBuffer<std::byte> kv_;
  const int max_records_;  // of an item of attention that threads share
  AttentionPlan attention_;
  AlignedBuffer<float> records_;  // (num_threads - 1, max_records_, record_floats)
  RotaryTable rotary_;
  SegmentedLora lora_;

  StepInput input_;
  std::vector<std::int32_t> seq_of_row_;
  std::vector<AdapterSlot> slot_of_row_;
  std::vector<AdapterSlot> slot_of_head_row_;

  AlignedBuffer<float> residual_;  // (max_rows, hidden)
  MultipliedRows normed_;
  ActivationRows query_;
  ActivationRows key_;
  ActivationRows value_;
  MultipliedRows attended_;
  MultipliedRows gate_;  // and silu(gate) * up
  ActivationRows up_;
  ActivationRows projected_;
  MultipliedRows head_input_;
  ActivationRows logits_;
};

}  // namespace tessera
