#include "adapters/packed_adapter.hpp"

#include <algorithm>
#include <cassert>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

struct ModuleBytes {
  std::size_t a;
  std::size_t b;
};

ModuleBytes page_bytes(const AdapterModule& module, PageType type) {
  const auto values = static_cast<std::size_t>(pages_of_rank(module.rank)) * kRanksPerPage;
  return {.a = aligned(values * static_cast<std::size_t>(module.base.shape.in_features) *
                       element_bytes(type)),
          .b = aligned(values * static_cast<std::size_t>(module.base.shape.out_features) *
                       element_bytes(type))};
}

// a[p][k][j] = A[8p + j][k]
template <class Stored, class Convert>
void fill_a(const AdapterModule& module, std::byte* pages, Convert convert) {
  const auto in = static_cast<std::size_t>(module.base.shape.in_features);
  auto* out = reinterpret_cast<Stored*>(pages);
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(module.rank); ++rank) {
    Stored* page = out + rank / kRanksPerPage * in * kRanksPerPage + rank % kRanksPerPage;
    const float* row = module.a.data() + rank * in;
    for (std::size_t k = 0; k < in; ++k) page[k * kRanksPerPage] = convert(row[k]);
  }
}

// b[p][j][n] = scale * B[n][8p + j]
template <class Stored, class Convert>
void fill_b(const AdapterModule& module, std::byte* pages, Convert convert) {
  const auto out_features = static_cast<std::size_t>(module.base.shape.out_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  auto* out = reinterpret_cast<Stored*>(pages);  // rows of (pages * 8, out_features)
  for (std::size_t n = 0; n < out_features; ++n) {
    for (std::size_t j = 0; j < rank; ++j) {
      out[j * out_features + n] = convert(module.scale * module.b[n * rank + j]);
    }
  }
}

void fill_pages(const AdapterModule& module, PageType type, std::byte* a, std::byte* b) {
  switch (type) {
    case PageType::kF32: {
      const auto same = [](float value) { return value; };
      fill_a<float>(module, a, same);
      fill_b<float>(module, b, same);
      return;
    }
    case PageType::kBf16:
      fill_a<Bf16>(module, a, float_to_bf16);
      fill_b<Bf16>(module, b, float_to_bf16);
      return;
  }
}

LoraModule& expert_module_of(LoraLayer& layer, const BaseModule& base, int num_experts) {
  layer.experts.resize(static_cast<std::size_t>(num_experts));
  const auto index = std::ranges::find(kExpertLinears, base.linear) - kExpertLinears.begin();
  return layer.experts[static_cast<std::size_t>(base.expert)][static_cast<std::size_t>(index)];
}

LoraModule& module_of(LoraView& view, const BaseModule& base, int num_experts) {
  switch (base.kind) {
    case ModuleKind::kLinear: {
      LoraLayer& layer = view.layers[static_cast<std::size_t>(base.layer)];
      if (base.expert >= 0) return expert_module_of(layer, base, num_experts);
      return layer[static_cast<std::size_t>(base.linear)];
    }
    case ModuleKind::kEmbed:
      return view.embed;
    case ModuleKind::kHead:
      break;
  }
  return view.head;
}

}  // namespace

std::size_t packed_bytes(const Adapter& adapter, PageType type) {
  std::size_t total = 0;
  for (const AdapterModule& module : adapter.modules) {
    const ModuleBytes bytes = page_bytes(module, type);
    total += bytes.a + bytes.b;
  }
  return total;
}

std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter& adapter, PageType type) {
  auto packed = std::make_shared<PackedAdapter>();
  packed->pages_ = AlignedBuffer<std::byte>(packed_bytes(adapter, type));
  for (const AdapterModule& module : adapter.modules) {
    packed->max_rank_ = std::max(packed->max_rank_, module.rank);
  }

  packed->view_.type = type;
  packed->view_.layers.resize(static_cast<std::size_t>(adapter.num_layers));
  std::byte* next = packed->pages_.data();
  for (const AdapterModule& module : adapter.modules) {
    const ModuleBytes bytes = page_bytes(module, type);
    fill_pages(module, type, next, next + bytes.a);
    LoraModule& view = module_of(packed->view_, module.base, adapter.num_experts);
    view = {.rank = module.rank, .a = next, .b = next + bytes.a};
    next += bytes.a + bytes.b;
  }
  assert(next == packed->pages_.data() + packed->bytes());
  return packed;
}

}  // namespace tessera
