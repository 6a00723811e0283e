// bench_model.hpp — a base model and adapters of a real shape, of weights that mean nothing.
//
// Every layer and every adapter has memory of its own, so that nothing is found in a cache that a
// real model would not leave there. Values keep activations near one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/lora.hpp"
#include "kernels/weights.hpp"

namespace tessera {

class BenchModel {
 public:
  explicit BenchModel(const ModelSpec& spec);
  BenchModel(const BenchModel&) = delete;
  BenchModel& operator=(const BenchModel&) = delete;

  const ModelWeights& weights() const { return weights_; }
  const ModelSpec& spec() const { return weights_.spec; }

 private:
  ModelWeights weights_;
  std::vector<Nf4Buffers> matrices_;  // (num_layers * kNumLinears,)
  std::vector<Bf16> embedding_;       // (vocab, hidden), and the head
  std::vector<float> norm_;           // (hidden,), every norm
  std::vector<float> bias_;           // (q_dim,), every bias
};

// An adapter of one rank on all seven linears.
class BenchAdapter {
 public:
  BenchAdapter(const ModelSpec& spec, int rank, PageType type);
  BenchAdapter(const BenchAdapter&) = delete;
  BenchAdapter& operator=(const BenchAdapter&) = delete;

  const LoraView& view() const { return view_; }
  std::size_t bytes() const { return pages_.size() * sizeof(CacheLine); }

 private:
  struct alignas(64) CacheLine {
    std::uint64_t words[8];
  };

  std::vector<CacheLine> pages_;
  LoraView view_;
};

}  // namespace tessera
