// device_model.hpp — a model's weights in device memory.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/device_experts.hpp"
#include "kernels/cuda/packed_matrix.hpp"
#include "kernels/weights.hpp"

namespace tessera {

// A vector of a layer; null where the model has none.
using DeviceVector = DeviceBuffer<float>;

struct DeviceLayer {
  std::array<PackedOnDevice, kNumLinears> linears;  // without gate, up, down where it has experts
  std::array<DeviceVector, kNumLinears> biases;
  DeviceVector attention_norm;
  DeviceVector mlp_norm;
  DeviceVector post_attention_norm;
  DeviceVector post_mlp_norm;
  DeviceVector q_norm;
  DeviceVector k_norm;
  DeviceVector router;  // (num_experts, hidden)
  DeviceExperts experts;
};

struct DeviceRope {
  DeviceVector inv_freq;
  DeviceVector long_inv_freq;
};

class DeviceModel {
 public:
  // Packs and sends everything; the weights are not needed afterwards. A head in bf16 becomes one
  // of `head_form`, beside an embedding that stays as it is. Throws std::invalid_argument for what
  // a GPU does not take.
  DeviceModel(const ModelWeights& weights, HeadForm head_form, CudaStream& stream);
  // Of device memory that they take, but for what rounding of allocations costs.
  static std::size_t bytes_for(const ModelWeights& weights, HeadForm head_form);

  const PackedMatrix& embedding() const { return embedding_.view(); }
  const PackedMatrix& head() const { return head_ ? head_->view() : embedding_.view(); }
  const DeviceLayer& layer(int i) const { return layers_[static_cast<std::size_t>(i)]; }
  const DeviceRope& rope(int i) const { return ropes_[static_cast<std::size_t>(i)]; }
  const float* final_norm() const { return final_norm_.data(); }
  std::size_t bytes() const { return bytes_; }  // of weights that a step reads

 private:
  PackedOnDevice send(const WeightMatrix& matrix, CudaStream& stream);
  static DeviceVector send(const float* values, int count, CudaStream& stream);
  DeviceLayer send(const ModelSpec& spec, int layer, const LayerWeights& weights,
                   CudaStream& stream);

  DeviceBuffer<float> dynamic_map_;
  PackedOnDevice embedding_;
  std::optional<PackedOnDevice> head_;
  DeviceVector final_norm_;
  std::vector<DeviceLayer> layers_;
  std::vector<DeviceRope> ropes_;
  std::size_t bytes_ = 0;
};

}  // namespace tessera
