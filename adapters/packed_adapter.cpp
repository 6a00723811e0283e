#include "adapters/packed_adapter.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

// a[p][k][j] = A[8p + j][k], a page at a time; ranks that there are not stay zero
template <class Stored, class Convert>
void fill_a(const AdapterModule& module, std::byte* pages, Convert convert) {
  const auto in = static_cast<std::size_t>(module.base.shape.in_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  auto* out = reinterpret_cast<Stored*>(pages);
  for (std::size_t first = 0; first < rank; first += kRanksPerPage) {
    const std::size_t count = std::min<std::size_t>(rank - first, kRanksPerPage);
    const float* rows = module.a.data() + first * in;
    for (std::size_t k = 0; k < in; ++k, out += kRanksPerPage) {
      for (std::size_t j = 0; j < count; ++j) out[j] = convert(rows[j * in + k]);
    }
  }
}

// b[p][j][n] = scale * B[n][8p + j], in tiles of rows of B that stay in the first cache
template <class Stored, class Convert>
void fill_b(const AdapterModule& module, std::byte* pages, Convert convert) {
  constexpr std::size_t kTileRows = 64;
  const auto out_features = static_cast<std::size_t>(module.base.shape.out_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  auto* out = reinterpret_cast<Stored*>(pages);  // rows of (pages * 8, out_features)
  for (std::size_t first = 0; first < out_features; first += kTileRows) {
    const std::size_t end = std::min(first + kTileRows, out_features);
    for (std::size_t j = 0; j < rank; ++j) {
      for (std::size_t n = first; n < end; ++n) {
        out[j * out_features + n] = convert(module.scale * module.b[n * rank + j]);
      }
    }
  }
}

template <class T>
void copy(const std::vector<T>& values, std::byte* out) {
  if (!values.empty()) std::memcpy(out, values.data(), values.size() * sizeof(T));
}

template <class Stored, class Convert>
void fill_rows(const AdapterRows& rows, const PackedRows& place, std::byte* data, Convert convert) {
  copy(rows.ids, data + place.ids);
  auto* out = reinterpret_cast<Stored*>(data + place.rows);
  for (const float value : rows.rows) *out++ = convert(value);
}

void fill_vectors(const AdapterModule& module, const PackedModule& place, std::byte* data) {
  copy(module.out_scale, data + place.out_scale);
  copy(module.bias, data + place.bias);
}

template <class Stored, class Convert>
void fill(const Adapter& adapter, const PackedLayout& layout, std::byte* data, Convert convert) {
  for (std::size_t i = 0; i < layout.modules.size(); ++i) {
    const AdapterModule& module = adapter.modules[i];
    const PackedModule& place = layout.modules[i];
    fill_a<Stored>(module, data + place.a, convert);
    fill_b<Stored>(module, data + place.b, convert);
    fill_vectors(module, place, data);
  }
  fill_rows<Stored>(adapter.embed_rows, layout.embed_rows, data, convert);
  fill_rows<Stored>(adapter.head_rows, layout.head_rows, data, convert);
}

// By way of fp32, module by module.
PageError fill_int8(const Adapter& adapter, const PackedLayout& layout, std::byte* data) {
  const auto itself = [](float value) { return value; };
  PageError error;
  for (std::size_t i = 0; i < layout.modules.size(); ++i) {
    const AdapterModule& module = adapter.modules[i];
    const PackedModule& place = layout.modules[i];
    const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank)) * kRanksPerPage;
    std::vector<float> a(ranks * static_cast<std::size_t>(module.base.shape.in_features));
    std::vector<float> b(ranks * static_cast<std::size_t>(module.base.shape.out_features));
    fill_a<float>(module, reinterpret_cast<std::byte*>(a.data()), itself);
    fill_b<float>(module, reinterpret_cast<std::byte*>(b.data()), itself);
    const LoraModule exact{.rank = module.rank,
                           .a = reinterpret_cast<const std::byte*>(a.data()),
                           .b = reinterpret_cast<const std::byte*>(b.data())};
    error += quantise_pages(exact, module.base.shape,
                            {reinterpret_cast<std::int8_t*>(data + place.a), a.size()},
                            {reinterpret_cast<std::int8_t*>(data + place.b), b.size()},
                            {reinterpret_cast<float*>(data + place.scales), ranks});
    fill_vectors(module, place, data);
  }
  fill_rows<Bf16>(adapter.embed_rows, layout.embed_rows, data, float_to_bf16);
  fill_rows<Bf16>(adapter.head_rows, layout.head_rows, data, float_to_bf16);
  return error;
}

}  // namespace

PackedAdapter::PackedAdapter(PackedLayout layout, AlignedBuffer<std::byte> data)
    : layout_(std::move(layout)),
      data_(std::move(data)),
      max_rank_(layout_.max_rank()),
      is_plain_(layout_.is_plain()),
      view_(view_of(layout_, data_.data())) {
  assert(data_.size() >= layout_.bytes);
}

std::size_t packed_bytes(const Adapter& adapter, PageType type) {
  return layout_of(adapter, type).bytes;
}

std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter& adapter, PageType type,
                                                  PageError* error) {
  PackedLayout layout = layout_of(adapter, type);
  AlignedBuffer<std::byte> data(layout.bytes);
  PageError of_pages;
  switch (type) {
    case PageType::kF32:
      fill<float>(adapter, layout, data.data(), [](float value) { return value; });
      break;
    case PageType::kBf16:
      fill<Bf16>(adapter, layout, data.data(), float_to_bf16);
      break;
    case PageType::kInt8:
      of_pages = fill_int8(adapter, layout, data.data());
      break;
  }
  if (error != nullptr) *error = of_pages;
  return std::make_shared<const PackedAdapter>(std::move(layout), std::move(data));
}

}  // namespace tessera
