#include "tests/kernels/random_adapter.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace tessera {

// A module of a model: one of a layer's, one of an expert's, the embedding or the head.
struct RandomAdapter::Place {
  enum Kind { kLayer, kExpert, kEmbed, kHead };
  Kind kind;
  LinearShape shape;
  std::size_t layer = 0;
  std::size_t expert = 0;
  std::size_t index = 0;  // into the layer's or the expert's

  // Null if the adapter leaves all of a layer's experts alone.
  template <class View>
  auto in(View& view) const -> decltype(&view.embed) {
    if (kind == kEmbed) return &view.embed;
    if (kind == kHead) return &view.head;
    if (kind == kLayer) return &view.layers[layer][index];
    auto& experts = view.layers[layer].experts;
    return experts.empty() ? nullptr : &experts[expert][index];
  }
};

namespace {

std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

const std::byte* bytes(const void* data) {
  return static_cast<const std::byte*>(data);
}

std::size_t padded(int rank) {
  return static_cast<std::size_t>(pages_of_rank(rank) * kRanksPerPage);
}

int draw_rank(Random& random, int fixed_rank) {
  if (fixed_rank > 0) return fixed_rank;
  return chance(random, 0.3) ? 0 : uniform(random, 1, 33);
}

// Where rank r of feature k lies in a's pages, and in b's.
std::size_t at_a(std::size_t rank, std::size_t k, int in_features) {
  const std::size_t page = rank / kRanksPerPage;
  return (page * static_cast<std::size_t>(in_features) + k) * kRanksPerPage + rank % kRanksPerPage;
}
std::size_t at_b(std::size_t rank, std::size_t n, int out_features) {
  return rank * static_cast<std::size_t>(out_features) + n;
}

float fp32_at(const std::byte* data, std::size_t i) {
  return reinterpret_cast<const float*>(data)[i];
}

std::vector<TokenId> draw_ids(Random& random, int vocab_size) {
  const double share = chance(random, 0.2) ? 1.0 : 0.3;  // now and then, all of them
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < vocab_size; ++id) {
    if (chance(random, share)) ids.push_back(id);
  }
  return ids;
}

}  // namespace

RandomAdapter::RandomAdapter(Random& random, const ModelSpec& spec, AdapterParts parts) {
  resize(spec);
  draw_pairs(random, spec, 0);
  if (parts == AdapterParts::kAll) {
    draw_scales_and_biases(random, spec);
    draw_rows(random, spec);
  }
  quantise(spec);
}

RandomAdapter::RandomAdapter(Random& random, const ModelSpec& spec, int rank) {
  resize(spec);
  draw_pairs(random, spec, rank);
  quantise(spec);
}

RandomAdapter::RandomAdapter(const ModelSpec& spec, std::span<const RandomAdapter* const> adapters,
                             std::span<const float> weights) {
  resize(spec);
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    if (spec.layers[layer].experts) add_experts(layer, spec.num_experts);
  }
  for (const Place& place : places_of(spec)) {
    int rank = 0;
    for (const RandomAdapter* adapter : adapters) {
      const LoraModule* module = place.in(adapter->fp32_);
      if (module != nullptr) rank += module->rank;
    }
    const auto [out, in] = place.shape;
    std::vector<float> a(padded(rank) * static_cast<std::size_t>(in));
    std::vector<float> b(padded(rank) * static_cast<std::size_t>(out));
    std::size_t to = 0;
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      const LoraModule* module = place.in(adapters[i]->fp32_);
      const int from_ranks = module == nullptr ? 0 : module->rank;
      for (std::size_t from = 0; from < static_cast<std::size_t>(from_ranks); ++from, ++to) {
        for (std::size_t k = 0; k < static_cast<std::size_t>(in); ++k) {
          a[at_a(to, k, in)] = fp32_at(module->a, at_a(from, k, in));
        }
        for (std::size_t n = 0; n < static_cast<std::size_t>(out); ++n) {
          b[at_b(to, n, out)] = weights[i] * fp32_at(module->b, at_b(from, n, out));
        }
      }
    }
    if (rank > 0) set_pair(place, rank, std::move(a), std::move(b));
  }
  quantise(spec);
}

// In the order in which a forward pass meets them, then the embedding and the head.
std::vector<RandomAdapter::Place> RandomAdapter::places_of(const ModelSpec& spec) {
  std::vector<Place> places;
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const bool experts = spec.layers[layer].experts;
    for (const Linear linear : kAllLinears) {
      if (experts && std::ranges::count(kExpertLinears, linear) != 0) continue;
      places.push_back(
          {Place::kLayer, spec.shape(linear), layer, 0, static_cast<std::size_t>(linear)});
    }
    const int num_experts = experts ? spec.num_experts : 0;
    for (std::size_t expert = 0; expert < static_cast<std::size_t>(num_experts); ++expert) {
      for (std::size_t i = 0; i < kNumExpertLinears; ++i) {
        places.push_back({Place::kExpert, spec.expert_shape(kExpertLinears[i]), layer, expert, i});
      }
    }
  }
  places.push_back({Place::kEmbed, {spec.hidden, spec.vocab_size}});
  places.push_back({Place::kHead, {spec.vocab_size, spec.hidden}});
  return places;
}

void RandomAdapter::resize(const ModelSpec& spec) {
  fp32_.type = PageType::kF32;
  bf16_.type = PageType::kBf16;
  fp32_.layers.resize(spec.layers.size());
  bf16_.layers.resize(spec.layers.size());
}

void RandomAdapter::add_experts(std::size_t layer, int num_experts) {
  fp32_.layers[layer].experts.resize(static_cast<std::size_t>(num_experts));
  bf16_.layers[layer].experts.resize(static_cast<std::size_t>(num_experts));
}

// Of a layer with experts, each expert has its own gate, up and down, unless the adapter leaves all
// of them alone.
void RandomAdapter::draw_pairs(Random& random, const ModelSpec& spec, int fixed_rank) {
  for (const Place& place : places_of(spec)) {
    if (place.kind == Place::kExpert && place.expert == 0 && place.index == 0) {
      const bool left_out = fixed_rank == 0 && chance(random, 0.2);
      if (!left_out) add_experts(place.layer, spec.num_experts);
    }
    if (place.in(fp32_) == nullptr) continue;
    const bool is_table = place.kind == Place::kEmbed || place.kind == Place::kHead;
    if (is_table && fixed_rank > 0) continue;
    draw_pair(random, place, draw_rank(random, fixed_rank));
  }
}

void RandomAdapter::draw_pair(Random& random, const Place& place, int rank) {
  if (rank == 0) return;
  const auto [out, in] = place.shape;
  const auto ranks = static_cast<std::size_t>(rank);
  std::vector<float> a = normal_values(random, padded(rank) * static_cast<std::size_t>(in),
                                       1.0F / std::sqrt(static_cast<float>(in)));
  std::vector<float> b = normal_values(random, padded(rank) * static_cast<std::size_t>(out),
                                       0.3F / std::sqrt(static_cast<float>(rank)));
  for (std::size_t unused = ranks; unused < padded(rank); ++unused) {
    for (std::size_t k = 0; k < static_cast<std::size_t>(in); ++k) a[at_a(unused, k, in)] = 0.0F;
    for (std::size_t n = 0; n < static_cast<std::size_t>(out); ++n) b[at_b(unused, n, out)] = 0.0F;
  }
  set_pair(place, rank, std::move(a), std::move(b));
}

void RandomAdapter::set_pair(const Place& place, int rank, std::vector<float> a,
                             std::vector<float> b) {
  LoraModule& fp32 = *place.in(fp32_);
  LoraModule& bf16 = *place.in(bf16_);
  fp32.rank = bf16.rank = rank;
  keep(std::move(a), fp32.a, bf16.a);
  keep(std::move(b), fp32.b, bf16.b);
}

void RandomAdapter::keep(std::vector<float> values, const std::byte*& fp32,
                         const std::byte*& bf16) {
  std::vector<Bf16>& rounded = halves_.emplace_back(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    rounded[i] = float_to_bf16(values[i]);
    values[i] = bf16_to_float(rounded[i]);
  }
  fp32 = bytes(floats_.emplace_back(std::move(values)).data());
  bf16 = bytes(rounded.data());
}

// Where tokens are routed, the embedding's elements keep the distances that a router reads.
void RandomAdapter::draw_scales_and_biases(Random& random, const ModelSpec& spec) {
  for (const Place& place : places_of(spec)) {
    LoraModule* fp32 = place.in(fp32_);
    if (fp32 == nullptr) continue;
    const auto width = static_cast<std::size_t>(place.shape.out_features);
    const bool routes = place.kind == Place::kEmbed && spec.num_experts > 0;
    if (chance(random, 0.5)) {
      std::vector<float>& scale = scales_.emplace_back(width);
      const float most = routes ? 0.02F : 0.5F;
      std::uniform_real_distribution<float> around(1.0F - most, 1.0F + most);
      for (float& value : scale) value = around(random);
      fp32->out_scale = place.in(bf16_)->out_scale = scale.data();
    }
    if (chance(random, 0.5)) {
      fp32->bias = place.in(bf16_)->bias =
          scales_.emplace_back(normal_values(random, width, 0.3F)).data();
    }
  }
}

void RandomAdapter::draw_rows(Random& random, const ModelSpec& spec) {
  if (chance(random, 0.7)) {
    std::vector<TokenId> ids = draw_ids(random, spec.vocab_size);
    const auto hidden = static_cast<std::size_t>(spec.hidden);
    std::vector<float> rows = normal_values(random, ids.size() * hidden, 1.0F);
    std::vector<float> levels;
    for (int i = 0; i < spec.num_experts; ++i) {
      levels.push_back(kRouterLevel * static_cast<float>(i + 1));
    }
    for (std::size_t row = 0; row < ids.size(); ++row) {
      std::shuffle(levels.begin(), levels.end(), random);
      std::copy(levels.begin(), levels.end(),
                rows.begin() + static_cast<std::ptrdiff_t>(row * hidden));
    }
    set_rows(std::move(ids), std::move(rows), &LoraView::embed_rows);
  }
  if (chance(random, 0.7)) {
    std::vector<TokenId> ids = draw_ids(random, spec.vocab_size);
    std::vector<float> rows =
        normal_values(random, area(static_cast<int>(ids.size()), spec.hidden), 0.1F);
    set_rows(std::move(ids), std::move(rows), &LoraView::head_rows);
  }
}

void RandomAdapter::set_rows(std::vector<TokenId> ids, std::vector<float> rows,
                             RowOverrides LoraView::*which) {
  const std::vector<TokenId>& kept = ids_.emplace_back(std::move(ids));
  RowOverrides& fp32 = fp32_.*which;
  RowOverrides& bf16 = bf16_.*which;
  fp32.ids = bf16.ids = kept;
  keep(std::move(rows), fp32.rows, bf16.rows);
}

void RandomAdapter::quantise(const ModelSpec& spec) {
  int8_ = bf16_;
  int8_.type = PageType::kInt8;
  for (const Place& place : places_of(spec)) {
    const LoraModule* exact = place.in(fp32_);
    if (exact == nullptr || exact->rank == 0) continue;
    LoraModule& module = *place.in(int8_);
    const auto [out, in] = place.shape;
    auto& a = integers_.emplace_back(padded(exact->rank) * static_cast<std::size_t>(in));
    auto& b = integers_.emplace_back(padded(exact->rank) * static_cast<std::size_t>(out));
    auto& scales = scales_.emplace_back(padded(exact->rank));
    int8_error_ += quantise_pages(*exact, place.shape, a, b, scales);
    module.a = bytes(a.data());
    module.b = bytes(b.data());
    module.scales = scales.data();
  }
}

void RandomAdapter::poison() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (auto& values : halves_) std::fill(values.begin(), values.end(), float_to_bf16(kInfinity));
  for (auto& values : scales_) std::fill(values.begin(), values.end(), kInfinity);
}

}  // namespace tessera
