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

// A closure, which is inlined where a pointer to the function is called.
constexpr auto kToBf16 = [](float value) { return float_to_bf16(value); };

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

// By way of fp32.
PageError fill_int8(const AdapterModule& pair, const PackedModule& place, std::byte* data) {
  const auto itself = [](float value) { return value; };
  const auto ranks = static_cast<std::size_t>(pages_of_rank(pair.rank)) * kRanksPerPage;
  std::vector<float> a(ranks * static_cast<std::size_t>(pair.base.shape.in_features));
  std::vector<float> b(ranks * static_cast<std::size_t>(pair.base.shape.out_features));
  fill_a<float>(pair, reinterpret_cast<std::byte*>(a.data()), itself);
  fill_b<float>(pair, reinterpret_cast<std::byte*>(b.data()), itself);
  const LoraModule exact{.rank = pair.rank,
                         .a = reinterpret_cast<const std::byte*>(a.data()),
                         .b = reinterpret_cast<const std::byte*>(b.data())};
  return quantise_pages(exact, pair.base.shape,
                        {reinterpret_cast<std::int8_t*>(data + place.a), a.size()},
                        {reinterpret_cast<std::int8_t*>(data + place.b), b.size()},
                        {reinterpret_cast<float*>(data + place.scales), ranks});
}

PageError fill_pair(PageType type, const AdapterModule& pair, const PackedModule& place,
                    std::byte* data) {
  if (type == PageType::kInt8) return fill_int8(pair, place, data);
  if (type == PageType::kBf16) {
    fill_a<Bf16>(pair, data + place.a, kToBf16);
    fill_b<Bf16>(pair, data + place.b, kToBf16);
  } else {
    const auto itself = [](float value) { return value; };
    fill_a<float>(pair, data + place.a, itself);
    fill_b<float>(pair, data + place.b, itself);
  }
  return {};
}

// The place within bytes that begin at `begin`.
PackedModule seen_from(PackedModule place, std::size_t begin) {
  for (std::size_t* offset : {&place.a, &place.b, &place.scales, &place.out_scale, &place.bias}) {
    *offset -= std::min(*offset, begin);
  }
  return place;
}

}  // namespace

PackedAdapter::PackedAdapter(PackedLayout layout, PageMemory data, std::shared_ptr<PagePool> pool)
    : layout_(std::move(layout)),
      data_(std::move(data)),
      pool_(std::move(pool)),
      max_rank_(layout_.max_rank()),
      is_plain_(layout_.is_plain()),
      view_(view_of(layout_, data_.data())) {
  assert(data_.size() >= layout_.bytes);
  view_.is_pinned = data_.is_pinned();
}

PackedAdapter::~PackedAdapter() {
  if (pool_ != nullptr) pool_->give(std::move(data_));
}

PagePacker::PagePacker(const Adapter& adapter, PageType type)
    : adapter_(adapter), layout_(layout_of(adapter, type)), work_left_(kMaxBalanceWork) {}

std::size_t PagePacker::begin_of(std::size_t part) const {
  const std::size_t of_modules = layout_.modules.size();
  if (part < of_modules) return layout_.modules[part].a;
  if (part == of_modules) return layout_.embed_rows.ids;
  return part == of_modules + 1 ? layout_.head_rows.ids : layout_.bytes;
}

void PagePacker::pack(std::size_t part, std::span<std::byte> out) {
  assert(out.size() == bytes_of(part));
  if (part < layout_.modules.size()) return pack_module(part, out.data());
  const bool of_embed = part == layout_.modules.size();
  PackedRows place = of_embed ? layout_.embed_rows : layout_.head_rows;
  place.rows -= std::exchange(place.ids, 0);
  const AdapterRows& rows = of_embed ? adapter_.embed_rows : adapter_.head_rows;
  if (layout_.type == PageType::kF32) {
    fill_rows<float>(rows, place, out.data(), [](float value) { return value; });
  } else {
    fill_rows<Bf16>(rows, place, out.data(), kToBf16);
  }
}

// The pair is packed as it is best rounded.
void PagePacker::pack_module(std::size_t index, std::byte* out) {
  const AdapterModule& module = with_pair(adapter_.modules[index], buffer_);
  const PackedModule place = seen_from(layout_.modules[index], begin_of(index));
  const bool rounds = layout_.type != PageType::kF32;
  const auto balanced = rounds ? balanced_pair(module, work_left_) : std::nullopt;
  error_ += fill_pair(layout_.type, balanced ? *balanced : module, place, out);
  fill_vectors(module, place, out);
}

std::shared_ptr<const PackedAdapter> pack_adapter(const Adapter& adapter, PageType type,
                                                  PageError* error) {
  PagePacker packer(adapter, type);
  AlignedBuffer<std::byte> data(packer.layout().bytes);
  for (std::size_t part = 0; part < packer.num_parts(); ++part) {
    packer.pack(part, {data.data() + packer.begin_of(part), packer.bytes_of(part)});
  }
  if (error != nullptr) *error = packer.error();
  return std::make_shared<const PackedAdapter>(packer.layout(), std::move(data));
}

}  // namespace tessera
