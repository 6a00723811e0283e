#include "adapters/packed_adapter.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "adapters/balanced_pair.hpp"
#include "kernels/bf16.hpp"

namespace tessera {
namespace {

constexpr std::size_t kTile = 64;  // columns that are converted, then put in their places

// a[p][k][j] = A[8p + j][k], a page at a time; ranks that there are not stay zero
template <class Stored, class Convert>
void fill_a(const AdapterModule& module, std::byte* pages, Convert convert) {
  const auto in = static_cast<std::size_t>(module.base.shape.in_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  auto* out = reinterpret_cast<Stored*>(pages);
  std::array<Stored, kTile> tile{};
  for (std::size_t first = 0; first < rank; first += kRanksPerPage) {
    const std::size_t count = std::min<std::size_t>(rank - first, kRanksPerPage);
    for (std::size_t k = 0; k < in; k += kTile) {
      const std::size_t width = std::min(kTile, in - k);
      Stored* place = out + (first * in + k * kRanksPerPage);
      for (std::size_t j = 0; j < count; ++j, ++place) {
        const float* row = module.a.data() + (first + j) * in + k;
        std::transform(row, row + width, tile.begin(), convert);
        for (std::size_t i = 0; i < width; ++i) place[i * kRanksPerPage] = tile[i];
      }
    }
  }
}

// b[p][j][n] = scale * B[n][8p + j], in squares that stay in the first cache
template <class Stored, class Convert>
void fill_b(const AdapterModule& module, std::byte* pages, Convert convert) {
  const auto out_features = static_cast<std::size_t>(module.base.shape.out_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  const float scale = module.scale;
  auto* out = reinterpret_cast<Stored*>(pages);  // rows of (pages * 8, out_features)
  std::array<std::array<Stored, kTile>, kTile> tile{};
  for (std::size_t n = 0; n < out_features; n += kTile) {
    const std::size_t height = std::min(kTile, out_features - n);
    for (std::size_t j = 0; j < rank; j += kTile) {
      const std::size_t width = std::min(kTile, rank - j);
      for (std::size_t i = 0; i < height; ++i) {
        const float* row = module.b.data() + (n + i) * rank + j;
        std::transform(row, row + width, tile[i].begin(),
                       [&](float value) { return convert(scale * value); });
      }
      for (std::size_t i = 0; i < width; ++i) {
        Stored* place = out + (j + i) * out_features + n;
        for (std::size_t k = 0; k < height; ++k) place[k] = tile[k][i];
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

// Calls `visit` with each module's pair as it is to be rounded, and the module and its place.
template <class Visit>
void for_each_balanced(const Adapter& adapter, const PackedLayout& layout, Visit visit) {
  std::uint64_t work_left = kMaxBalanceWork;
  for (std::size_t i = 0; i < layout.modules.size(); ++i) {
    const AdapterModule& module = adapter.modules[i];
    const auto pair = balanced_pair(module, work_left);
    visit(pair ? *pair : module, module, layout.modules[i]);
  }
}

void fill_f32(const Adapter& adapter, const PackedLayout& layout, std::byte* data) {
  const auto itself = [](float value) { return value; };
  for (std::size_t i = 0; i < layout.modules.size(); ++i) {
    const AdapterModule& module = adapter.modules[i];
    const PackedModule& place = layout.modules[i];
    fill_a<float>(module, data + place.a, itself);
    fill_b<float>(module, data + place.b, itself);
    fill_vectors(module, place, data);
  }
  fill_rows<float>(adapter.embed_rows, layout.embed_rows, data, itself);
  fill_rows<float>(adapter.head_rows, layout.head_rows, data, itself);
}

void fill_bf16(const Adapter& adapter, const PackedLayout& layout, std::byte* data) {
  for_each_balanced(
      adapter, layout,
      [&](const AdapterModule& pair, const AdapterModule& module, const PackedModule& place) {
        fill_a<Bf16>(pair, data + place.a, float_to_bf16);
        fill_b<Bf16>(pair, data + place.b, float_to_bf16);
        fill_vectors(module, place, data);
      });
  fill_rows<Bf16>(adapter.embed_rows, layout.embed_rows, data, float_to_bf16);
  fill_rows<Bf16>(adapter.head_rows, layout.head_rows, data, float_to_bf16);
}

// By way of fp32, module by module.
PageError fill_int8(const Adapter& adapter, const PackedLayout& layout, std::byte* data) {
  const auto itself = [](float value) { return value; };
  PageError error;
  for_each_balanced(
      adapter, layout,
      [&](const AdapterModule& pair, const AdapterModule& module, const PackedModule& place) {
        const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank)) * kRanksPerPage;
        std::vector<float> a(ranks * static_cast<std::size_t>(module.base.shape.in_features));
        std::vector<float> b(ranks * static_cast<std::size_t>(module.base.shape.out_features));
        fill_a<float>(pair, reinterpret_cast<std::byte*>(a.data()), itself);
        fill_b<float>(pair, reinterpret_cast<std::byte*>(b.data()), itself);
        const LoraModule exact{.rank = module.rank,
                               .a = reinterpret_cast<const std::byte*>(a.data()),
                               .b = reinterpret_cast<const std::byte*>(b.data())};
        error += quantise_pages(exact, module.base.shape,
                                {reinterpret_cast<std::int8_t*>(data + place.a), a.size()},
                                {reinterpret_cast<std::int8_t*>(data + place.b), b.size()},
                                {reinterpret_cast<float*>(data + place.scales), ranks});
        fill_vectors(module, place, data);
      });
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
      fill_f32(adapter, layout, data.data());
      break;
    case PageType::kBf16:
      fill_bf16(adapter, layout, data.data());
      break;
    case PageType::kInt8:
      of_pages = fill_int8(adapter, layout, data.data());
      break;
  }
  if (error != nullptr) *error = of_pages;
  return std::make_shared<const PackedAdapter>(std::move(layout), std::move(data));
}

}  // namespace tessera
