// experts.cu — expert_kernels.hpp, but for the linears (linear.cu).
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_math.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr int kGroupThreads = 1024;

__device__ std::size_t at_row(int row, int width) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(width);
}

// ---- Routes.

// logits[e] = router[e] . x, a warp each; a lane takes every thirty-second feature.
__device__ void multiply_router(const RouteParams& p, const float* x, float* logits) {
  for (int expert = warp_index(); expert < p.routing.num_experts;
       expert += static_cast<int>(kRowWarps)) {
    const float* weights = p.router + at_row(expert, p.width);
    float sum = 0.0F;
    for (int k = lane_index(); k < p.width; k += kWarpLanes) sum = fmaf(weights[k], x[k], sum);
    sum = warp_sum(sum);
    if (lane_index() == 0) logits[expert] = sum;
  }
}

// The largest of them that is not taken, the lower expert among equals; a NaN is as good as any, so
// that a row of NaNs has experts too. One thread's.
__device__ int best_of(const float* logits, const std::uint32_t* taken, int count) {
  int best = -1;
  for (int expert = 0; expert < count; ++expert) {
    if ((taken[expert / 32] >> (expert % 32) & 1U) != 0) continue;
    if (best < 0 || logits[expert] > logits[best]) best = expert;
  }
  return best;
}

__global__ void __launch_bounds__(kRowThreads) route_kernel(const __grid_constant__ RouteParams p) {
  TESSERA_SHARED(float, logits, kMaxExperts);
  TESSERA_SHARED(std::uint32_t, taken, kMaxExperts / 32);
  const int row = static_cast<int>(blockIdx.x);
  if (row >= p.step.counts->rows) return;
  const int count = p.routing.num_experts;
  for (int i = thread_index(); i < kMaxExperts / 32; i += static_cast<int>(kRowThreads)) {
    taken[i] = 0;
  }
  multiply_router(p, p.x + at_row(row, p.width), logits);
  __syncthreads();
  if (thread_index() != 0) return;
  float largest = logits[0];
  for (int expert = 1; expert < count; ++expert) largest = fmaxf(largest, logits[expert]);
  float total = 0.0F;
  for (int expert = 0; expert < count; ++expert) total += expf(logits[expert] - largest);
  float kept = 0.0F;
  for (int i = 0; i < p.routing.per_row; ++i) {
    const int best = best_of(logits, taken, count);
    taken[best / 32] |= 1U << (best % 32);
    kept += expf(logits[best] - largest) / total;
  }
  // In ascending order of the expert.
  std::int32_t* experts = p.routing.experts + at_row(row, p.routing.per_row);
  float* weights = p.routing.weights + at_row(row, p.routing.per_row);
  int next = 0;
  for (int expert = 0; expert < count; ++expert) {
    if ((taken[expert / 32] >> (expert % 32) & 1U) == 0) continue;
    const float weight = expf(logits[expert] - largest) / total;
    experts[next] = expert;
    weights[next++] = p.normalise ? weight / kept : weight;
  }
}

// One CTA: the routes of each expert are counted, then placed, by a warp.
__global__ void __launch_bounds__(kGroupThreads, 1)
    place_kernel(const __grid_constant__ RouteParams p) {
  TESSERA_SHARED(std::int32_t, first, kMaxExperts + 1);
  const ExpertRouting& routing = p.routing;
  const int num_routes = p.step.counts->rows * routing.per_row;
  constexpr int kWarps = kGroupThreads / kWarpLanes;
  for (int expert = warp_index(); expert < routing.num_experts; expert += kWarps) {
    int found = 0;
    for (int at = 0; at < num_routes; at += kWarpLanes) {
      const int route = at + lane_index();
      const bool is_one = route < num_routes && routing.experts[route] == expert;
      found += __popc(__ballot_sync(kFullMask, is_one ? 1 : 0));
    }
    if (lane_index() == 0) first[expert] = found;
  }
  __syncthreads();
  if (thread_index() == 0) {
    int before = 0;
    for (int expert = 0; expert < routing.num_experts; ++expert) {
      const int own = first[expert];
      first[expert] = before;
      before += own;
    }
    first[routing.num_experts] = before;
  }
  __syncthreads();
  for (int i = thread_index(); i <= routing.num_experts; i += kGroupThreads) {
    routing.first[i] = first[i];
  }
  for (int expert = warp_index(); expert < routing.num_experts; expert += kWarps) {
    int next = first[expert];
    for (int at = 0; at < num_routes; at += kWarpLanes) {
      const int route = at + lane_index();
      const bool is_one = route < num_routes && routing.experts[route] == expert;
      const unsigned lanes = __ballot_sync(kFullMask, is_one ? 1 : 0);
      if (is_one) {
        const int place = next + __popc(lanes & ((1U << static_cast<unsigned>(lane_index())) - 1U));
        routing.place_of[route] = place;
        routing.row_of[place] = route / routing.per_row;
        routing.expert_of[place] = expert;
      }
      next += __popc(lanes);
    }
  }
}

// ---- Rows of places.

__global__ void __launch_bounds__(kRowThreads)
    stage_experts_kernel(const __grid_constant__ StageExpertsParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int place = static_cast<int>(blockIdx.x);
  if (place >= *p.routing.num_places()) return;
  const PackedMatrix& matrix =
      p.matrices[p.routing.expert_of[place] * kNumExpertLinears + p.linear];
  const float* x = p.x + at_row(p.x_rows == nullptr ? place : p.x_rows[place], p.width);
  float largest = 0.0F;
  for (int k = thread_index(); k < p.width; k += static_cast<int>(kRowThreads)) {
    largest = fmaxf(largest, fabsf(x[k]));
  }
  largest = block_max(largest, sums);
  stage_row(x, matrix.order, p.width, largest, p.staged, place);
}

__global__ void __launch_bounds__(kRowThreads)
    sum_experts_kernel(const __grid_constant__ SumExpertsParams p) {
  const int row = static_cast<int>(blockIdx.x);
  if (row >= p.step.counts->rows) return;
  const ExpertRouting& routing = p.routing;
  const std::size_t first = at_row(row, routing.per_row);
  for (int k = thread_index(); k < p.width; k += static_cast<int>(kRowThreads)) {
    float sum = 0.0F;
    for (int i = 0; i < routing.per_row; ++i) {
      const std::size_t route = first + static_cast<std::size_t>(i);
      const float output =
          p.y[at_row(routing.place_of[route], p.width) + static_cast<std::size_t>(k)];
      sum = __fadd_rn(sum, __fmul_rn(output, routing.weights[route]));
    }
    p.output[at_row(row, p.width) + static_cast<std::size_t>(k)] = sum;
  }
}

}  // namespace

void route_rows(CudaStream& stream, const RouteParams& params, int capacity) {
  launch(stream, "route", route_kernel, {{static_cast<unsigned>(capacity)}, {kRowThreads}}, params);
  launch(stream, "place_routes", place_kernel, {{1}, {static_cast<unsigned>(kGroupThreads)}},
         params);
}

void stage_experts(CudaStream& stream, const StageExpertsParams& params, int capacity) {
  const auto places = static_cast<unsigned>(capacity * params.routing.per_row);
  launch(stream, "stage_experts", stage_experts_kernel, {{places}, {kRowThreads}}, params);
}

void sum_experts(CudaStream& stream, const SumExpertsParams& params, int capacity) {
  launch(stream, "sum_experts", sum_experts_kernel,
         {{static_cast<unsigned>(capacity)}, {kRowThreads}}, params);
}

// ---- The memory of routes.

namespace {

struct RoutingParts {
  std::size_t experts, weights, place_of, first, row_of, expert_of, end;
};

RoutingParts parts_of(const ModelSpec& spec, int max_rows) {
  std::size_t next = 0;
  const auto part = [&](int count) {
    const std::size_t here = next;
    next += (static_cast<std::size_t>(count) * 4 + 255) / 256 * 256;
    return here;
  };
  const int routes = max_rows * spec.experts_per_token;
  RoutingParts parts{};
  parts.experts = part(routes);
  parts.weights = part(routes);
  parts.place_of = part(routes);
  parts.first = part(spec.num_experts + 1);
  parts.row_of = part(routes);
  parts.expert_of = part(routes);
  parts.end = next;
  return parts;
}

}  // namespace

std::size_t ExpertRoutingBuffers::device_bytes(const ModelSpec& spec, int max_rows) {
  return spec.num_experts == 0 ? 0 : parts_of(spec, max_rows).end;
}

ExpertRoutingBuffers::ExpertRoutingBuffers(const ModelSpec& spec, int max_rows)
    : memory_(device_bytes(spec, max_rows)) {
  if (spec.num_experts == 0) return;
  const RoutingParts parts = parts_of(spec, max_rows);
  const auto at = [&](std::size_t offset) {
    return reinterpret_cast<std::int32_t*>(memory_.data() + offset);
  };
  view_.num_experts = spec.num_experts;
  view_.per_row = spec.experts_per_token;
  view_.experts = at(parts.experts);
  view_.weights = reinterpret_cast<float*>(memory_.data() + parts.weights);
  view_.place_of = at(parts.place_of);
  view_.first = at(parts.first);
  view_.row_of = at(parts.row_of);
  view_.expert_of = at(parts.expert_of);
}

}  // namespace tessera
