#include "adapters/packed_layout.hpp"

#include <algorithm>

namespace tessera {
namespace {

// Hands out 64-byte-aligned places, one behind the other.
class Places {
 public:
  std::size_t take(std::size_t bytes) {
    const std::size_t place = next_;
    next_ += (bytes + 63) / 64 * 64;
    return place;
  }
  std::size_t end() const { return next_; }

 private:
  std::size_t next_ = 0;
};

std::size_t size(int number) {
  return static_cast<std::size_t>(number);
}

void place_module(PackedModule& module, PageType type, Places& places) {
  const std::size_t ranks = size(pages_of_rank(module.rank)) * kRanksPerPage;
  module.a = places.take(ranks * size(module.shape.in_features) * element_bytes(type));
  module.b = places.take(ranks * size(module.shape.out_features) * element_bytes(type));
  if (type == PageType::kInt8) module.scales = places.take(ranks * sizeof(float));
  const std::size_t vector_bytes = size(module.shape.out_features) * sizeof(float);
  if (module.has_out_scale) module.out_scale = places.take(vector_bytes);
  if (module.has_bias) module.bias = places.take(vector_bytes);
}

void place_rows(PackedRows& rows, const PackedLayout& layout, Places& places) {
  rows.ids = places.take(rows.count * sizeof(TokenId));
  rows.rows = places.take(rows.count * size(layout.hidden) * element_bytes(row_type(layout.type)));
}

LoraModule& expert_module_of(LoraLayer& layer, const PackedModule& module, int num_experts) {
  layer.experts.resize(size(num_experts));
  const auto index = std::ranges::find(kExpertLinears, module.linear) - kExpertLinears.begin();
  return layer.experts[size(module.expert)][static_cast<std::size_t>(index)];
}

LoraModule& module_of(LoraView& view, const PackedModule& module, int num_experts) {
  switch (module.kind) {
    case ModuleKind::kLinear: {
      LoraLayer& layer = view.layers[size(module.layer)];
      if (module.expert >= 0) return expert_module_of(layer, module, num_experts);
      return layer[static_cast<std::size_t>(module.linear)];
    }
    case ModuleKind::kEmbed:
      return view.embed;
    case ModuleKind::kHead:
      break;
  }
  return view.head;
}

LoraModule pages_of(const PackedModule& module, PageType type, const std::byte* data) {
  LoraModule pages{.rank = module.rank};
  if (module.rank > 0) {
    pages.a = data + module.a;
    pages.b = data + module.b;
    if (type == PageType::kInt8) {
      pages.scales = reinterpret_cast<const float*>(data + module.scales);
    }
  }
  if (module.has_out_scale) {
    pages.out_scale = reinterpret_cast<const float*>(data + module.out_scale);
  }
  if (module.has_bias) pages.bias = reinterpret_cast<const float*>(data + module.bias);
  return pages;
}

RowOverrides overrides_of(const PackedRows& rows, const std::byte* data) {
  if (rows.count == 0) return {};
  return {.ids = {reinterpret_cast<const TokenId*>(data + rows.ids), rows.count},
          .rows = data + rows.rows};
}

int hidden_of(const AdapterRows& rows) {
  return rows.ids.empty() ? 0 : static_cast<int>(rows.rows.size() / rows.ids.size());
}

}  // namespace

int PackedLayout::max_rank() const {
  int rank = 0;
  for (const PackedModule& module : modules) rank = std::max(rank, module.rank);
  return rank;
}

bool PackedLayout::is_plain() const {
  return embed_rows.count == 0 && head_rows.count == 0 && invocation.empty() &&
         std::ranges::none_of(modules, [](const PackedModule& module) {
           return module.has_out_scale || module.has_bias;
         });
}

void place_parts(PackedLayout& layout) {
  Places places;
  for (PackedModule& module : layout.modules) place_module(module, layout.type, places);
  place_rows(layout.embed_rows, layout, places);
  place_rows(layout.head_rows, layout, places);
  layout.bytes = places.end();
}

PackedLayout layout_of(const Adapter& adapter, PageType type) {
  PackedLayout layout{
      .type = type,
      .num_layers = adapter.num_layers,
      .num_experts = adapter.num_experts,
      .hidden = std::max(hidden_of(adapter.embed_rows), hidden_of(adapter.head_rows)),
      .invocation = adapter.invocation};
  for (const AdapterModule& module : adapter.modules) {
    layout.modules.push_back({.kind = module.base.kind,
                              .layer = module.base.layer,
                              .linear = module.base.linear,
                              .expert = module.base.expert,
                              .shape = module.base.shape,
                              .rank = module.rank,
                              .has_out_scale = !module.out_scale.empty(),
                              .has_bias = !module.bias.empty()});
  }
  layout.embed_rows.count = adapter.embed_rows.ids.size();
  layout.head_rows.count = adapter.head_rows.ids.size();
  place_parts(layout);
  return layout;
}

LoraView view_of(const PackedLayout& layout, const std::byte* data) {
  LoraView view{.type = layout.type,
                .layers = std::vector<LoraLayer>(size(layout.num_layers)),
                .embed = {},
                .head = {},
                .embed_rows = overrides_of(layout.embed_rows, data),
                .head_rows = overrides_of(layout.head_rows, data)};
  for (const PackedModule& module : layout.modules) {
    module_of(view, module, layout.num_experts) = pages_of(module, layout.type, data);
  }
  return view;
}

}  // namespace tessera
