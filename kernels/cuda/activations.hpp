// activations.hpp — what a step computes, in device memory that stays the same from step to step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/backend.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/linear.hpp"

namespace tessera {

constexpr std::size_t device_area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

// Activations of a step and what kernels need to compute them.
struct Activations {
  Activations(const ModelSpec& spec, const BackendLimits& limits)
      : x(device_area(limits.max_rows, spec.hidden)),
        input(device_area(most_rows(limits), widest_input(spec))),
        halves(device_area(most_rows(limits), widest_input(spec))),
        scales(static_cast<std::size_t>(most_rows(limits))),
        sums(device_area(most_rows(limits), widest_input(spec) / 16)),
        ordered_halves(halves.size()),
        ordered_scales(scales.size()),
        ordered_sums(sums.size()),
        y(device_area(limits.max_rows, widest_output(spec))),
        logits(device_area(limits.max_logit_rows, spec.vocab_size)) {}

  static int most_rows(const BackendLimits& limits) {
    return std::max(limits.max_rows, limits.max_logit_rows);
  }
  // Of device memory that these take.
  static std::size_t bytes(const ModelSpec& spec, const BackendLimits& limits) {
    const std::size_t staged = device_area(most_rows(limits), widest_input(spec));
    const std::size_t floats = device_area(limits.max_rows, spec.hidden) + staged +
                               device_area(limits.max_rows, widest_output(spec)) +
                               device_area(limits.max_logit_rows, spec.vocab_size);
    return floats * sizeof(float) +
           2 * (staged * sizeof(std::uint16_t) + staged / 16 * sizeof(float) +
                static_cast<std::size_t>(most_rows(limits)) * sizeof(float));
  }
  static int widest_input(const ModelSpec& spec) {
    return std::max({spec.hidden, spec.q_dim(), spec.intermediate});
  }
  static int widest_output(const ModelSpec& spec) {
    return std::max({spec.hidden, spec.q_dim() + 2 * spec.kv_dim(), 2 * spec.intermediate});
  }
  StagedRows staged() { return {halves.data(), scales.data(), sums.data()}; }
  StagedRows ordered() {
    return {ordered_halves.data(), ordered_scales.data(), ordered_sums.data()};
  }

  DeviceBuffer<float> x;               // (rows, hidden) the residual stream
  DeviceBuffer<float> input;           // (rows, in) of the linears of a stage
  DeviceBuffer<std::uint16_t> halves;  // the same, staged
  DeviceBuffer<float> scales;
  DeviceBuffer<float> sums;
  DeviceBuffer<std::uint16_t> ordered_halves;  // the same in a matrix's own order
  DeviceBuffer<float> ordered_scales;
  DeviceBuffer<float> ordered_sums;
  DeviceBuffer<float> y;       // (rows, out) of the linears of a stage
  DeviceBuffer<float> logits;  // (logit rows, vocab)
};

// The same of the places of a layer's experts (expert_kernels.hpp); nothing where there are none.
struct ExpertActivations {
  ExpertActivations(const ModelSpec& spec, const BackendLimits& limits)
      : routing(spec, limits.max_rows),
        y(device_area(places(spec, limits), widest_output(spec))),
        gated(device_area(places(spec, limits), spec.expert_intermediate)),
        halves(device_area(places(spec, limits), widest_input(spec))),
        scales(static_cast<std::size_t>(places(spec, limits))),
        sums(halves.size() / 16) {}

  static int places(const ModelSpec& spec, const BackendLimits& limits) {
    return spec.num_experts == 0 ? 0 : limits.max_rows * spec.experts_per_token;
  }
  static int widest_input(const ModelSpec& spec) {
    return std::max(spec.hidden, spec.expert_intermediate);
  }
  static int widest_output(const ModelSpec& spec) {
    return std::max(spec.hidden, 2 * spec.expert_intermediate);
  }
  static std::size_t bytes(const ModelSpec& spec, const BackendLimits& limits) {
    const int rows = places(spec, limits);
    const std::size_t staged = device_area(rows, widest_input(spec));
    return ExpertRoutingBuffers::device_bytes(spec, limits.max_rows) +
           (device_area(rows, widest_output(spec)) + device_area(rows, spec.expert_intermediate) +
            static_cast<std::size_t>(rows) + staged / 16) *
               sizeof(float) +
           staged * sizeof(std::uint16_t);
  }
  StagedRows staged() { return {halves.data(), scales.data(), sums.data()}; }

  ExpertRoutingBuffers routing;
  DeviceBuffer<float> y;               // (places, out) of gate and up, then of down
  DeviceBuffer<float> gated;           // (places, expert_intermediate) the input of down
  DeviceBuffer<std::uint16_t> halves;  // of either input, staged
  DeviceBuffer<float> scales;
  DeviceBuffer<float> sums;
};

}  // namespace tessera
