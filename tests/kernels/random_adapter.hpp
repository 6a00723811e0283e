// random_adapter.hpp — adapters made from a seed.
//
// Ranks from 1 to 33, modules left out and, where asked for, all else that an adapter may change:
// output scales, biases, rows of the embedding and of the head.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "kernels/bf16.hpp"
#include "kernels/lora.hpp"
#include "kernels/lora_int8.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {

enum class AdapterParts { kPairs, kAll };

// One adapter in all page types: of the same values in fp32 and bf16, and in 8 bits what is made of
// those. Owns its pages.
class RandomAdapter {
 public:
  RandomAdapter(Random& random, const ModelSpec& spec, AdapterParts parts = AdapterParts::kPairs);
  // Pairs alone, every rank fixed and no module left out but the embedding and the head.
  RandomAdapter(Random& random, const ModelSpec& spec, int rank);
  // The adapter that a mix of these comes to: their ranks one behind the other, each B times its
  // weight, a power of two. They have pairs alone.
  RandomAdapter(const ModelSpec& spec, std::span<const RandomAdapter* const> adapters,
                std::span<const float> weights);
  RandomAdapter(const RandomAdapter&) = delete;
  RandomAdapter& operator=(const RandomAdapter&) = delete;

  const LoraView& view(PageType type) const {
    return type == PageType::kF32 ? fp32_ : type == PageType::kBf16 ? bf16_ : int8_;
  }
  // What the pages of 8 bits cost.
  const PageError& int8_error() const { return int8_error_; }

  // Makes every element of every A, B and row infinite, and every scale and bias.
  void poison();

 private:
  struct Place;

  static std::vector<Place> places_of(const ModelSpec& spec);
  void resize(const ModelSpec& spec);
  void draw_pairs(Random& random, const ModelSpec& spec, int fixed_rank);
  void draw_pair(Random& random, const Place& place, int rank);
  void draw_scales_and_biases(Random& random, const ModelSpec& spec);
  void draw_rows(Random& random, const ModelSpec& spec);
  void add_experts(std::size_t layer, int num_experts);
  // Values in the order of pages, which are rounded to bf16 in both types.
  void set_pair(const Place& place, int rank, std::vector<float> a, std::vector<float> b);
  void set_rows(std::vector<TokenId> ids, std::vector<float> rows, RowOverrides LoraView::*which);
  void keep(std::vector<float> values, const std::byte*& fp32, const std::byte*& bf16);
  void quantise(const ModelSpec& spec);

  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<float>> scales_;
  std::deque<std::vector<Bf16>> halves_;
  std::deque<std::vector<std::int8_t>> integers_;
  std::deque<std::vector<TokenId>> ids_;
  LoraView fp32_;
  LoraView bf16_;
  LoraView int8_;
  PageError int8_error_;
};

}  // namespace tessera
