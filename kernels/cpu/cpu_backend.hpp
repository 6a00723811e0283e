// cpu_backend.hpp — the stages of a step on the cores of this machine.
//
// A stage is one to four runs of the thread pool with a barrier after each: normalise the rows;
// shrink by the adapters, if there are any; multiply, where each thread computes a range of output
// columns for all rows and finishes them (LoRA expand, bias, gate, residual) while they are in its
// cache. Where a thread's columns are whole heads, it also rotates them and writes the cache, else
// a run of its own does; likewise integers are made of what attention and the gate put out, and a
// norm of whole rows waits until they are whole. What is computed on which thread depends on the
// step's shape alone, and how (kernel_table.hpp) on nothing but the row: P2.
//
// A path may multiply integers (kernel_table.hpp); LoRA and all else see fp32.
//
// The weights are repacked into tiles when the backend is made (tiled_matrix.hpp), and every array
// that a step touches is allocated then.
#pragma once

#include <initializer_list>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/activation_rows.hpp"
#include "kernels/cpu/cpu_attention.hpp"
#include "kernels/cpu/cpu_experts.hpp"
#include "kernels/cpu/cpu_layer.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/rotary_table.hpp"
#include "kernels/cpu/segmented_lora.hpp"
#include "kernels/cpu/thread_pool.hpp"

namespace tessera {

class CpuBackend final : public Backend {
 public:
  // `kernels` outlives the backend.
  CpuBackend(const ModelWeights& weights, const BackendLimits& limits, const KernelTable& kernels);

  std::string_view name() const override { return kernels_.name; }
  PageType page_type() const override { return PageType::kBf16; }
  // Of an expert layer, what a single row reads.
  std::size_t weight_bytes() const override;

  AdapterSlot add_adapter(const LoraView& adapter) override { return adapters_.add(adapter); }
  void remove_adapter(AdapterSlot slot) override { adapters_.remove(slot); }

  void enter() override { pool_.pin_caller(); }
  void discard_blocks(std::span<const BlockId> blocks) override { attention_.discard(blocks); }
  void begin(const StepInput& input) override;
  void embed() override;
  void qkv(int layer) override;
  void attention(int layer) override;
  void o_proj(int layer) override;
  void gate_up(int layer) override;
  void down(int layer) override;
  void head() override;

  std::span<const float> logits(int i) override;
  std::span<const float> state(int i) override;
  std::span<const float> residual() override;

 private:
  // A projection as one who does a piece of it sees it.
  struct Projection {
    const BaseLinear& linear;
    LoraSite site;
    int site_index;
    Activations x;
    Rows y;
    int rows;
    int grain = 1;  // tiles that are not in different pieces
  };

  int num_rows() const { return static_cast<int>(input_.tokens.size()); }
  const CpuLayer& layer_at(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  const LayerSpec& spec_at(int layer) const {
    return spec_.layers[static_cast<std::size_t>(layer)];
  }
  float* residual_row(int row);
  void embed_row(int row);
  void normalise_states();

  // normed_ = the rows that a layer's attention or MLP reads, `weight` null where it has no norm.
  void normalise(const float* weight, float eps, const StageOrders& orders);
  void shrink(int layer, std::initializer_list<Linear> linears, const StageRows& x);
  Projection projection(int layer, Linear linear, int site_index, const StageRows& x,
                        ActivationRows& y, int grain = 1) const;
  // In how many pieces the columns of linears that are projected together are dealt.
  int num_pieces(std::initializer_list<const BaseLinear*> linears) const;
  // The piece's columns of y = W x + B z + bias; returns which they are.
  Range project(const Projection& projection, int piece, int num_pieces) const;
  void project_into_residual(int layer, Linear linear, const StageRows& x, const float* post_norm);
  // The residual stream's rows += residual_scale * post_norm(projected_).
  void add_projected(int layer, const float* post_norm);
  void gate_up_without_experts(int layer);
  ExpertStep expert_step(int layer) const;

  bool deals_whole_heads(int layer) const;
  // Rotates q and k and writes k and v to the cache: a piece's heads of some rows.
  void rotate_and_store(int layer, Range rows, int piece, int num_pieces);
  void rotate_and_store_by_rows(int layer);
  void normalise_whole(int layer, int row);
  void rotate(int layer, int row, const float* norm, float* head);

  const ModelSpec spec_;
  const BackendLimits limits_;
  const KernelTable& kernels_;
  ThreadPool pool_;

  const WeightMatrix embedding_;  // (vocab, hidden), the caller's
  const float* final_norm_;
  const std::vector<CpuLayer> layers_;
  const ModelNeeds needs_;
  BaseLinear head_;
  StageOrders head_orders_;

  CpuAttention attention_;
  RotaryTable rotary_;
  LoraAdapters adapters_;
  SegmentedLora lora_;
  CpuExperts experts_;

  StepInput input_;
  std::vector<std::int32_t> seq_of_row_;
  std::vector<RowTerms> terms_of_row_;
  std::vector<RowTerms> terms_of_head_row_;

  AlignedBuffer<float> residual_;  // (max_rows, hidden)
  StageRows normed_;
  ActivationRows query_;
  ActivationRows key_;
  ActivationRows value_;
  StageRows attended_;
  StageRows gate_;  // and act(gate) * up
  ActivationRows up_;
  ActivationRows projected_;
  StageRows head_input_;
  ActivationRows logits_;
};

}  // namespace tessera
