#include "tests/kernels/cuda/lora_case.hpp"

#include "kernels/bf16.hpp"
#include "kernels/lora_int8.hpp"

namespace tessera {
namespace {

std::vector<Bf16> rounded(const std::vector<float>& values) {
  std::vector<Bf16> halves;
  for (const float value : values) halves.push_back(float_to_bf16(value));
  return halves;
}

// Random values in the page layout, zeros in the unused ranks.
std::vector<float> random_half(Random& random, int features, int rank, bool is_a) {
  const int ranks = pages_of_rank(rank) * kRanksPerPage;
  auto values = normal_values(random, static_cast<std::size_t>(features * ranks), 0.3F);
  for (int r = rank; r < ranks; ++r) {
    for (int k = 0; k < features; ++k) {
      const int at = is_a ? (r / kRanksPerPage * features + k) * kRanksPerPage + r % kRanksPerPage
                          : r * features + k;
      values[static_cast<std::size_t>(at)] = 0.0F;
    }
  }
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

void add_pair(Random& random, Adapter& adapter, LoraModule& module, LinearShape shape, int rank) {
  module.rank = rank;
  const auto a = random_half(random, shape.in_features, rank, true);
  const auto b = random_half(random, shape.out_features, rank, false);
  if (adapter.type == PageType::kBf16) {
    module.a = adapter.keep(rounded(a).data(), a.size() * 2);
    module.b = adapter.keep(rounded(b).data(), b.size() * 2);
    return;
  }
  LoraModule exact = module;
  exact.a = reinterpret_cast<const std::byte*>(a.data());
  exact.b = reinterpret_cast<const std::byte*>(b.data());
  std::vector<std::int8_t> a8(a.size());
  std::vector<std::int8_t> b8(b.size());
  auto& scales =
      adapter.floats.emplace_back(static_cast<std::size_t>(pages_of_rank(rank) * kRanksPerPage));
  quantise_pages(exact, shape, a8, b8, scales);
  module.scales = scales.data();
  module.a = adapter.keep(a8.data(), a8.size());
  module.b = adapter.keep(b8.data(), b8.size());
}

RowOverrides random_rows(Random& random, Adapter& adapter, const LoraShapes& shapes) {
  auto& ids = adapter.ids.emplace_back();
  for (TokenId id = 0; id < shapes.vocab_size; ++id) {
    if (chance(random, 0.2)) ids.push_back(id);
  }
  const auto rows =
      rounded(normal_values(random, ids.size() * static_cast<std::size_t>(shapes.hidden), 1.0F));
  return {ids, adapter.keep(rows.data(), rows.size() * sizeof(Bf16))};
}

void draw_adapter(Random& random, const LoraShapes& shapes, bool pairs_alone, Adapter& adapter) {
  adapter.type = chance(random, 0.4) ? PageType::kInt8 : PageType::kBf16;
  adapter.has_pairs_alone = pairs_alone;
  for (int i = 0; i < kNumModules; ++i) {
    LoraModule& module = adapter.modules[i];
    const LinearShape shape = shapes.of(i);
    const int rank = chance(random, 0.25) ? 0 : uniform(random, 1, chance(random, 0.2) ? 72 : 20);
    if (rank > 0) add_pair(random, adapter, module, shape, rank);
    if (pairs_alone) continue;
    const auto size = static_cast<std::size_t>(shape.out_features);
    const auto draw = [&] {
      return adapter.floats.emplace_back(normal_values(random, size, 1.0F)).data();
    };
    if (chance(random, 0.3)) module.out_scale = draw();
    if (chance(random, 0.3)) module.bias = draw();
  }
  if (pairs_alone) return;
  adapter.embed_rows = random_rows(random, adapter, shapes);
  adapter.head_rows = random_rows(random, adapter, shapes);
}

std::vector<MixTerm> random_terms(Random& random, const std::deque<Adapter>& adapters) {
  if (chance(random, 0.2)) return {};
  const int num_adapters = static_cast<int>(adapters.size());
  if (chance(random, 0.7)) return {{uniform(random, 0, num_adapters - 1), 1.0F}};
  std::vector<MixTerm> terms;
  for (int slot = 0; slot < num_adapters && terms.size() < kMaxMixTerms; ++slot) {
    const bool taken =
        adapters[static_cast<std::size_t>(slot)].has_pairs_alone && chance(random, 0.7);
    if (taken) terms.push_back({slot, 0.25F * static_cast<float>(uniform(random, 1, 6))});
  }
  return terms;
}

}  // namespace

LoraCase random_lora_case(Random& random, const LoraShapes& shapes, bool may_be_crowded) {
  LoraCase drawn;
  drawn.shapes = shapes;
  const auto adapters = std::make_shared<std::deque<Adapter>>();
  for (int i = 0; i < 5; ++i) {
    draw_adapter(random, drawn.shapes, i % 2 == 0, adapters->emplace_back());
  }
  drawn.adapters = adapters;
  // Sometimes one adapter has many rows, so that both forms of shrink are used.
  const bool is_crowded = may_be_crowded && chance(random, 0.4);
  const int num_rows = is_crowded ? uniform(random, 40, 70) : uniform(random, 1, 12);
  const auto shared = random_terms(random, *adapters);
  for (int row = 0; row < num_rows; ++row) {
    drawn.terms.push_back(is_crowded && chance(random, 0.7) ? shared
                                                            : random_terms(random, *adapters));
    drawn.tokens.push_back(uniform(random, 0, drawn.shapes.vocab_size - 1));
    if (chance(random, 0.4)) drawn.head_rows.push_back(row);
  }
  drawn.x =
      normal_values(random, static_cast<std::size_t>(num_rows * drawn.shapes.in_features), 1.0F);
  return drawn;
}

LoraCase LoraCase::only(const std::vector<int>& rows) const {
  LoraCase part;
  part.shapes = shapes;
  part.adapters = adapters;
  for (const int row : rows) {
    const auto r = static_cast<std::size_t>(row);
    part.terms.push_back(terms[r]);
    part.tokens.push_back(tokens[r]);
    const auto* from = x.data() + row * shapes.in_features;
    part.x.insert(part.x.end(), from, from + shapes.in_features);
    if (std::find(head_rows.begin(), head_rows.end(), row) != head_rows.end()) {
      part.head_rows.push_back(static_cast<std::int32_t>(part.terms.size()) - 1);
    }
  }
  return part;
}

}  // namespace tessera
