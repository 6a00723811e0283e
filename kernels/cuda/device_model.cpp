#include "kernels/cuda/device_model.hpp"

#include <utility>

namespace tessera {

DeviceModel::DeviceModel(const ModelWeights& weights, CudaStream& stream)
    : dynamic_map_(kDynamicMap.size()) {
  const ModelSpec& spec = weights.spec;
  copy<float>(stream, dynamic_map_, kDynamicMap);
  embedding_ = send(weights.embedding, stream);
  if (!spec.tied_embeddings) head_ = send(weights.head, stream);
  final_norm_ = send(weights.final_norm, spec.hidden, stream);
  for (int i = 0; i < spec.num_layers(); ++i) {
    layers_.push_back(send(spec, i, weights.layers[static_cast<std::size_t>(i)], stream));
  }
  for (const RopeSpec& rope : spec.ropes) {
    const auto pairs = static_cast<int>(rope.inv_freq.size());
    const float* longer = rope.long_inv_freq.empty() ? nullptr : rope.long_inv_freq.data();
    ropes_.push_back({send(rope.inv_freq.data(), pairs, stream), send(longer, pairs, stream)});
  }
  stream.synchronize();
}

// Vectors are left out: they are a few kilobytes a layer.
std::size_t DeviceModel::bytes_for(const ModelWeights& weights) {
  std::size_t bytes = packed_bytes(weights.embedding);
  if (!weights.spec.tied_embeddings) bytes += packed_bytes(weights.head);
  for (const LayerWeights& layer : weights.layers) {
    for (const WeightMatrix& matrix : layer.linears) {
      if (matrix.rows > 0) bytes += packed_bytes(matrix);
    }
    bytes += DeviceExperts::device_bytes(layer.experts);
  }
  return bytes;
}

PackedOnDevice DeviceModel::send(const WeightMatrix& matrix, CudaStream& stream) {
  const PackedBuffers packed = pack_matrix(matrix);
  PackedOnDevice device(packed, dynamic_map_.data(), stream);
  stream.synchronize();  // before the packed copy goes
  bytes_ += device.bytes();
  return device;
}

DeviceVector DeviceModel::send(const float* values, int count, CudaStream& stream) {
  if (values == nullptr) return {};
  DeviceVector vector(static_cast<std::size_t>(count));
  stream.copy_to_device(vector.data(), values, vector.bytes());
  return vector;
}

DeviceLayer DeviceModel::send(const ModelSpec& spec, int index, const LayerWeights& weights,
                              CudaStream& stream) {
  DeviceLayer layer;
  for (const Linear linear : kAllLinears) {
    const auto i = static_cast<std::size_t>(linear);
    if (weights.linears[i].rows == 0) continue;  // the experts have their own
    layer.linears[i] = send(weights.linears[i], stream);
    layer.biases[i] = send(weights.biases[i], spec.shape(linear).out_features, stream);
  }
  layer.attention_norm = send(weights.attention_norm, spec.hidden, stream);
  layer.mlp_norm = send(weights.mlp_norm, spec.hidden, stream);
  layer.post_attention_norm = send(weights.post_attention_norm, spec.hidden, stream);
  layer.post_mlp_norm = send(weights.post_mlp_norm, spec.hidden, stream);
  const bool each = spec.layers[static_cast<std::size_t>(index)].qk_norm == QkNorm::kPerHead;
  layer.q_norm = send(weights.q_norm, each ? spec.head_dim : spec.q_dim(), stream);
  layer.k_norm = send(weights.k_norm, each ? spec.head_dim : spec.kv_dim(), stream);
  if (weights.experts.empty()) return layer;
  layer.router = send(weights.router, spec.num_experts * spec.hidden, stream);
  layer.experts = DeviceExperts(weights.experts, dynamic_map_.data(), stream);
  bytes_ += layer.experts.bytes();
  return layer;
}

}  // namespace tessera
