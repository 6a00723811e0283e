#include "kernels/cuda/device_model.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/weight_buffers.hpp"

namespace tessera {
namespace {

constexpr int kHeadGroup = 64;  // weights of a head in 8 bits that share a scale

bool rounds_head(const ModelWeights& weights, HeadForm form) {
  return form == HeadForm::kInt8 && weights.head.form == WeightForm::kBf16 &&
         weights.head.cols % kHeadGroup == 0;
}

// The shape of a head in 8 bits, without its codes.
WeightMatrix int8_shape(const WeightMatrix& head) {
  WeightMatrix shape;
  shape.rows = head.rows;
  shape.cols = head.cols;
  shape.form = WeightForm::kInt8;
  shape.group = kHeadGroup;
  static constexpr float kPresent = 0.0F;
  shape.scales = &kPresent;  // not nested; nobody reads them
  return shape;
}

// Codes of a group and, returned, what they are multiplied by.
float round_group(const Bf16* weights, std::uint8_t* codes) {
  float largest = 0.0F;
  for (int i = 0; i < kHeadGroup; ++i) {
    largest = std::max(largest, std::abs(bf16_to_float(weights[i])));
  }
  const float scale = largest / 127.0F;
  for (int i = 0; i < kHeadGroup; ++i) {
    const float code = scale == 0.0F ? 0.0F : std::nearbyint(bf16_to_float(weights[i]) / scale);
    codes[i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
  }
  return scale;
}

WeightBuffers round_head(const WeightMatrix& head) {
  WeightBuffers rounded;
  rounded.rows = head.rows;
  rounded.cols = head.cols;
  rounded.form = WeightForm::kInt8;
  rounded.group = kHeadGroup;
  const auto size = static_cast<std::size_t>(head.rows) * static_cast<std::size_t>(head.cols);
  rounded.codes.resize(size);
  rounded.scales.resize(size / kHeadGroup);
  for (std::size_t i = 0; i < rounded.scales.size(); ++i) {
    rounded.scales[i] = round_group(head.bf16 + i * kHeadGroup, &rounded.codes[i * kHeadGroup]);
  }
  return rounded;
}

}  // namespace

DeviceModel::DeviceModel(const ModelWeights& weights, HeadForm head_form, CudaStream& stream)
    : dynamic_map_(kDynamicMap.size()) {
  const ModelSpec& spec = weights.spec;
  copy<float>(stream, dynamic_map_, kDynamicMap);
  embedding_ = send(weights.embedding, stream);
  if (rounds_head(weights, head_form)) {
    head_ = send(round_head(weights.head).view(), stream);
  } else if (!spec.tied_embeddings) {
    head_ = send(weights.head, stream);
  }
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
std::size_t DeviceModel::bytes_for(const ModelWeights& weights, HeadForm head_form) {
  std::size_t bytes = packed_bytes(weights.embedding);
  if (rounds_head(weights, head_form)) {
    bytes += packed_bytes(int8_shape(weights.head));
  } else if (!weights.spec.tied_embeddings) {
    bytes += packed_bytes(weights.head);
  }
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
