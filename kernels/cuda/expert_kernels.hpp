// expert_kernels.hpp — layers with experts: who goes where, and the experts' linears.
//
// A row is sent to a few experts; each of these routes is a "place", and places lie together expert
// by expert, within each in the order of the rows. Linears, gates and adapters then work on places
// as they do on rows. How many places an expert has is read from device memory, so that a launch
// depends on `capacity` alone.
//
// P2: a row's experts, their weights and what each of them puts out are functions of the row alone;
// where it lies is not, but changes no bit. A row's experts are summed in ascending order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/packed_matrix.hpp"
#include "kernels/cuda/step.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

inline constexpr int kMaxExperts = 1024;

// The routes of a step's rows; device memory, written by route_rows().
struct ExpertRouting {
  std::int32_t num_experts = 0;
  std::int32_t per_row = 0;
  std::int32_t* experts = nullptr;   // (rows, per_row) ascending in each row
  float* weights = nullptr;          // (rows, per_row)
  std::int32_t* place_of = nullptr;  // (rows, per_row)
  std::int32_t* first = nullptr;  // (num_experts + 1,) expert e has places [first[e], first[e + 1])
  std::int32_t* row_of = nullptr;     // (places,)
  std::int32_t* expert_of = nullptr;  // (places,)

  // Device memory: how many places there are.
  TESSERA_HOST_DEVICE const std::int32_t* num_places() const { return first + num_experts; }
};

// The memory of one.
class ExpertRoutingBuffers {
 public:
  ExpertRoutingBuffers() = default;
  ExpertRoutingBuffers(const ModelSpec& spec, int max_rows);
  static std::size_t device_bytes(const ModelSpec& spec, int max_rows);
  const ExpertRouting& view() const { return view_; }

 private:
  DeviceBuffer<std::byte> memory_;
  ExpertRouting view_;
};

// Softmax over the experts' logits, the largest few, the lower expert among equals; then places.
struct RouteParams {
  DeviceStep step;
  const float* x = nullptr;       // (rows, width)
  const float* router = nullptr;  // (num_experts, width)
  int width = 0;
  bool normalise = false;  // the weights kept add up to 1
  ExpertRouting routing;
};
void route_rows(CudaStream& stream, const RouteParams& params, int capacity);

// What linears of one launch have in common.
struct ExpertForm {
  PackedForm form = PackedForm::kHalf;
  int steps = 4;  // of sixteen columns, that share a scale: 1, 2 or 4
  bool operator==(const ExpertForm&) const = default;
};
ExpertForm form_of(const PackedMatrix& matrix);

// Up to two linears of every expert, whose outputs lie one behind the other in a row of y.
struct ExpertLinears {
  // (num_experts, kNumExpertLinears) device memory; all of the same shape.
  const PackedMatrix* matrices = nullptr;
  int first = 0;  // as kExpertLinears
  int count = 1;
  LinearShape shape = {0, 0};
  ExpertRouting routing;
  StagedRows x;
  const std::int32_t* x_rows = nullptr;  // (places,) rows of x; null: x has a row for each place
  float* y = nullptr;                    // (places, y_stride)
  int y_stride = 0;
};
// Writes the outputs of those matrices that have the form, nothing else.
void multiply_experts(CudaStream& stream, const ExpertLinears& linears, ExpertForm form,
                      int capacity);

// Stages a row for each place, in the order of the columns of its expert's matrix.
struct StageExpertsParams {
  ExpertRouting routing;
  const PackedMatrix* matrices = nullptr;  // as above
  int linear = 0;
  const float* x = nullptr;              // (rows or places, width)
  const std::int32_t* x_rows = nullptr;  // as above
  int width = 0;
  StagedRows staged;
};
void stage_experts(CudaStream& stream, const StageExpertsParams& params, int capacity);

// output[row] = sum over the row's places of weight * y[place]
struct SumExpertsParams {
  DeviceStep step;
  ExpertRouting routing;
  const float* y = nullptr;  // (places, width)
  int width = 0;
  float* output = nullptr;  // (rows, width)
};
void sum_experts(CudaStream& stream, const SumExpertsParams& params, int capacity);

}  // namespace tessera
