// device_experts.hpp — the experts of one layer in device memory: one allocation, one table.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/packed_matrix.hpp"
#include "kernels/weights.hpp"

namespace tessera {

class DeviceExperts {
 public:
  DeviceExperts() = default;
  // Packs and sends all, and waits for the copies. `dynamic_map` is device memory that outlives
  // this. Throws std::invalid_argument as pack_matrix() does.
  DeviceExperts(const std::vector<ExpertWeights>& experts, const float* dynamic_map,
                CudaStream& stream);

  static std::size_t device_bytes(const std::vector<ExpertWeights>& experts);

  const PackedMatrix* table() const { return table_.data(); }  // (experts, kNumExpertLinears)
  std::size_t bytes() const { return bytes_; }                 // of weights
  // Each form that some expert's linear `i` has, once.
  const std::vector<ExpertForm>& forms(int i) const { return forms_[static_cast<std::size_t>(i)]; }
  // Whether some expert's linear `i` has an order of columns of its own.
  bool has_order(int i) const { return has_order_[static_cast<std::size_t>(i)]; }

 private:
  PackedMatrix place(const PackedBuffers& packed, std::size_t& at, CudaStream& stream);

  DeviceBuffer<std::byte> memory_;
  DeviceBuffer<PackedMatrix> table_;
  std::array<std::vector<ExpertForm>, kNumExpertLinears> forms_;
  std::array<bool, kNumExpertLinears> has_order_ = {};
  std::size_t bytes_ = 0;
};

}  // namespace tessera
