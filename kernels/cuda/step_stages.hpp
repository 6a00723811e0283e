// step_stages.hpp — the launches that a step's stages are made of (backend.hpp), and the memory
// that they compute in.
//
// A launch depends on nothing but the capacity that begin() was told: what a step's rows are, they
// read from device memory. So what is enqueued once may be kept as a graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/backend.hpp"
#include "kernels/cuda/activations.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/device_model.hpp"
#include "kernels/cuda/kv_layout.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/linear_dense.hpp"
#include "kernels/cuda/lora_kernels.hpp"
#include "kernels/cuda/lora_modules.hpp"
#include "kernels/cuda/step.hpp"

namespace tessera {

// What launches are for.
struct StepCapacity {
  int rows = 0;
  int head_rows = 0;
  bool has_lora = false;
};

class StepStages {
 public:
  // What the stages read; all of it outlives them.
  struct Sources {
    const ModelSpec& spec;
    const DeviceModel& model;
    DeviceStep step;
    LoraTable adapters;
    KvCache cache;
  };

  // Enqueues on `stream`. Linears of `dense_from` rows and more go through a library
  // (linear_dense.hpp); 0: none do.
  StepStages(const Sources& sources, const BackendLimits& limits, int dense_from,
             CudaStream& stream);

  // Of the stages that follow.
  void begin(const StepCapacity& capacity) { capacity_ = capacity; }

  void prologue();  // before the first stage: the plan of adapters, the tables of RoPE
  void embed();
  void qkv(int layer);
  void attention(int layer);  // puts out the input of o_proj
  void o_proj(int layer);
  void gate_up(int layer);
  void down(int layer);
  void head();
  // Final hidden states of the first `count` head rows of `step`; in states().
  void normalise_states(const DeviceStep& step, int count);

  // Where results are, on the device.
  const float* residual() const { return on_.x.data(); }      // (rows, hidden)
  const float* states() const { return on_.input.data(); }    // (states, hidden)
  float* logits() { return on_.logits.data(); }               // (head rows, vocab)
  std::size_t residual_size() const { return on_.x.size(); }  // floats; of states() too
  std::size_t logits_size() const { return on_.logits.size(); }

 private:
  // y = W x + B (A x) of modules that read the same input; those of a layer that follow each other.
  void apply_linears(int layer, std::span<const Linear> linears);
  // Where rows of y are, and what adapters add to them in the same launch, if anything.
  struct Outputs {
    float* y = nullptr;
    int y_stride = 0;
    const std::int32_t* num_rows = nullptr;
    int capacity = 0;
    const LoraModules* added = nullptr;
  };
  void multiply_all(std::span<const PackedMatrix> matrices, const Outputs& outputs);
  void multiply_group(LinearGroup group, int first_site, const Outputs& outputs);
  bool is_dense(int capacity) const { return dense_ && capacity >= dense_from_; }
  void add_residual(int layer, Linear linear, const DeviceVector& post_norm);
  void normalise(const float* weight, float eps);

  // step_stages_experts.cpp
  void gate_up_experts(int layer);
  void down_experts(int layer);
  void multiply_expert_linears(int layer, int first, int count);
  void apply_expert_lora(int layer, int first, int count, const ExpertLinears& linears,
                         const float* x, const std::int32_t* x_rows);

  const LayerSpec& layer_spec(int layer) const {
    return spec_.layers[static_cast<std::size_t>(layer)];
  }

  const ModelSpec& spec_;
  const DeviceModel& model_;
  const BackendLimits limits_;
  const DeviceStep step_;
  const KvCache cache_;
  CudaStream& stream_;
  Activations on_;
  ExpertActivations on_experts_;
  DeviceBuffer<float> rope_tables_;  // (ropes, rows, pairs of the widest, 2)
  DeviceBuffer<std::byte> lora_workspace_;
  DeviceBuffer<std::byte> expert_lora_workspace_;
  DeviceBuffer<std::byte> attention_workspace_;
  LoraModuleNumbers modules_;
  LoraWork lora_;
  LoraWork expert_lora_;
  int dense_from_ = 0;
  std::optional<DenseLinear> dense_;
  StepCapacity capacity_;
};

}  // namespace tessera
