#include "engine/model/gguf_blocks.hpp"

#include <array>
#include <cstring>
#include <utility>

#include "adapters/f16.hpp"
#include "adapters/tensor_values.hpp"
#include "kernels/quantisers.hpp"

namespace tessera {
namespace {

using Bytes = const std::uint8_t*;

float half_at(Bytes bytes) {
  std::uint16_t half = 0;
  std::memcpy(&half, bytes, sizeof half);
  return f16_to_float(half);
}

// Eight scales and eight minimums of 6 bits in 12 bytes: the low four bytes of each, then nibbles,
// with the upper two bits of the latter half in the upper bits of the former.
struct KScales {
  std::array<float, 8> scales;
  std::array<float, 8> minimums;
};

KScales unpack_k_scales(Bytes bytes) {
  KScales out;
  for (std::size_t j = 0; j < 4; ++j) {
    out.scales[j] = static_cast<float>(bytes[j] & 63U);
    out.minimums[j] = static_cast<float>(bytes[j + 4] & 63U);
    out.scales[j + 4] = static_cast<float>((bytes[j + 8] & 15U) | (bytes[j] >> 6U) << 4U);
    out.minimums[j + 4] =
        static_cast<float>(bytes[j + 8] >> 4U | static_cast<unsigned>(bytes[j + 4] >> 6U) << 4U);
  }
  return out;
}

// Appends rows of one type to buffers: unsigned codes of one block at a time, with its scales and
// offsets.
class BlockReader {
 public:
  explicit BlockReader(GgmlType type) : type_(type) {}

  WeightForm form() const { return is_4_bit() ? WeightForm::kBook16 : WeightForm::kInt8; }
  bool has_offsets() const {
    return type_ == GgmlType::kQ4_1 || type_ == GgmlType::kQ5_1 || type_ == GgmlType::kQ4K ||
           type_ == GgmlType::kQ5K;
  }
  int group() const { return type_ == GgmlType::kQ6K ? 16 : 32; }

  void append(Bytes block, WeightBuffers& out) {
    const auto weights = static_cast<std::size_t>(block_of(type_).weights);
    switch (type_) {
      case GgmlType::kQ4_0:
      case GgmlType::kQ4_1:
      case GgmlType::kQ5_0:
      case GgmlType::kQ5_1:
        read_simple(block, out);
        break;
      case GgmlType::kQ8_0:
        out.scales.push_back(half_at(block));
        std::memcpy(codes_.data(), block + 2, weights);
        break;
      case GgmlType::kQ4K:
      case GgmlType::kQ5K:
        read_k(block, out);
        break;
      case GgmlType::kQ6K:
        read_6k(block, out);
        break;
      default:
        break;
    }
    append_codes(weights, out);
  }

 private:
  bool is_4_bit() const {
    return type_ == GgmlType::kQ4_0 || type_ == GgmlType::kQ4_1 || type_ == GgmlType::kQ4K;
  }

  // 32 weights: scale, minimum if any, fifth bits if any, then nibbles: weights 0 … 15 low, 16 … 31
  // high. Q5_0 lies around zero, as Q4_0 does, whose book is signed.
  void read_simple(Bytes block, WeightBuffers& out) {
    out.scales.push_back(half_at(block));
    Bytes at = block + 2;
    if (has_offsets()) {
      out.offsets.push_back(half_at(at));
      at += 2;
    }
    const bool five = type_ == GgmlType::kQ5_0 || type_ == GgmlType::kQ5_1;
    std::uint32_t fifth = 0;
    if (five) {
      std::memcpy(&fifth, at, sizeof fifth);
      at += sizeof fifth;
    }
    const unsigned base = type_ == GgmlType::kQ5_0 ? 16 : 0;
    for (std::size_t i = 0; i < 16; ++i) {
      const unsigned low = (at[i] & 15U) | (fifth >> i & 1U) << 4U;
      const unsigned high = static_cast<unsigned>(at[i] >> 4U) | (fifth >> (i + 16) & 1U) << 4U;
      codes_[i] = static_cast<std::uint8_t>(low - base);
      codes_[i + 16] = static_cast<std::uint8_t>(high - base);
    }
  }

  // Two halves, 12 bytes of scales, for Q5_K 32 bytes of fifth bits (bit g of byte i is that of
  // weight i of group g), then nibbles: 32 bytes hold two groups, low and high.
  void read_k(Bytes block, WeightBuffers& out) {
    const float d = half_at(block);
    const float d_min = half_at(block + 2);
    const KScales packed = unpack_k_scales(block + 4);
    const bool five = type_ == GgmlType::kQ5K;
    const Bytes fifth = block + 16;
    const Bytes nibbles = five ? fifth + 32 : fifth;
    for (std::size_t group = 0; group < 8; ++group) {
      out.scales.push_back(d * packed.scales[group]);
      out.offsets.push_back(-(d_min * packed.minimums[group]));
      for (std::size_t i = 0; i < 32; ++i) {
        const unsigned pair = nibbles[group / 2 * 32 + i];
        unsigned code = group % 2 == 0 ? pair & 15U : pair >> 4U;
        if (five) code |= (fifth[i] >> group & 1U) << 4U;
        codes_[group * 32 + i] = static_cast<std::uint8_t>(code);
      }
    }
  }

  // Of each half of 128 weights: 64 bytes of low nibbles and 32 of upper bits, two a weight; then
  // sixteen signed scales and the half-precision d.
  void read_6k(Bytes block, WeightBuffers& out) {
    const Bytes scales = block + 192;
    const float d = half_at(block + 208);
    for (std::size_t i = 0; i < 16; ++i) {
      out.scales.push_back(d * static_cast<float>(static_cast<std::int8_t>(scales[i])));
    }
    for (std::size_t half = 0; half < 2; ++half) {
      const Bytes low = block + half * 64;
      const Bytes high = block + 128 + half * 32;
      for (std::size_t i = 0; i < 128; ++i) {
        const unsigned pair = low[i % 64];
        const unsigned nibble = i < 64 ? pair & 15U : pair >> 4U;
        const unsigned upper = high[i % 32] >> (i / 32 * 2) & 3U;
        codes_[half * 128 + i] = static_cast<std::uint8_t>((nibble | upper << 4U) - 32U);
      }
    }
  }

  void append_codes(std::size_t weights, WeightBuffers& out) const {
    if (!is_4_bit()) {
      out.codes.insert(out.codes.end(), codes_.begin(),
                       codes_.begin() + static_cast<std::ptrdiff_t>(weights));
      return;
    }
    for (std::size_t i = 0; i < weights; i += 2) {
      out.codes.push_back(static_cast<std::uint8_t>(codes_[i] << 4U | codes_[i + 1]));
    }
  }

  GgmlType type_;
  std::array<std::uint8_t, 256> codes_ = {};  // of the block at hand, one a byte
};

class GgufSource : public TensorSource {
 public:
  GgufSource(const GgufTensor& tensor, std::vector<std::int64_t> shape, std::int64_t first_row,
             RowOrder order)
      : TensorSource(std::move(shape), {tensor.bytes}),
        type_(tensor.type),
        bytes_(reinterpret_cast<Bytes>(tensor.bytes.data())),
        row_bytes_(static_cast<std::size_t>(cols() / block_of(type_).weights) *
                   static_cast<std::size_t>(block_of(type_).bytes)),
        first_row_(first_row),
        order_(order) {}

  std::string form() const override { return std::string(block_of(type_).name); }
  bool is_quantised() const override { return block_of(type_).weights > 1; }

  Result<void> read(std::int64_t row, std::span<float> values) const override {
    if (is_quantised()) {
      read_taken(*this, row, values);
      return {};
    }
    if (shape().size() == 1) return read_vector(values);
    const auto width = static_cast<std::size_t>(cols());
    for (std::size_t i = 0; i * width < values.size(); ++i) {
      const auto bytes =
          std::as_bytes(std::span(row_at(row + static_cast<std::int64_t>(i)), row_bytes_));
      read_values_into(dtype(), bytes, values.subspan(i * width, width));
    }
    return {};
  }

  std::optional<WeightBuffers> take(std::int64_t row, int rows) const override {
    if (!is_quantised()) return std::nullopt;
    BlockReader reader(type_);
    WeightBuffers out;
    out.rows = rows;
    out.cols = static_cast<int>(cols());
    out.form = reader.form();
    out.group = reader.group();
    if (out.form == WeightForm::kBook16) {
      out.book = reader.has_offsets() ? kInt4Values : kSignedInt4Values;
    }
    reserve(out, reader.has_offsets());
    const auto block_bytes = static_cast<std::size_t>(block_of(type_).bytes);
    for (int i = 0; i < rows; ++i) {
      const Bytes from = row_at(row + i);
      for (std::size_t at = 0; at < row_bytes_; at += block_bytes) reader.append(from + at, out);
    }
    return out;
  }

 private:
  Dtype dtype() const {
    if (type_ == GgmlType::kF32) return Dtype::kF32;
    return type_ == GgmlType::kF16 ? Dtype::kF16 : Dtype::kBf16;
  }

  // A bias has the order of its matrix's rows.
  Result<void> read_vector(std::span<float> values) const {
    const std::size_t size = static_cast<std::size_t>(dtype_bits(dtype())) / 8;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto at = static_cast<std::size_t>(order_.stored_row(static_cast<std::int64_t>(i)));
      const auto bytes = std::as_bytes(std::span(bytes_ + at * size, size));
      read_values_into(dtype(), bytes, values.subspan(i, 1));
    }
    return {};
  }

  Bytes row_at(std::int64_t row) const {
    return bytes_ + static_cast<std::size_t>(first_row_ + order_.stored_row(row)) * row_bytes_;
  }

  static void reserve(WeightBuffers& out, bool offsets) {
    const auto count = static_cast<std::size_t>(out.rows) * static_cast<std::size_t>(out.cols);
    const std::size_t groups = count / static_cast<std::size_t>(out.group);
    out.codes.reserve(out.form == WeightForm::kInt8 ? count : count / 2);
    out.scales.reserve(groups);
    if (offsets) out.offsets.reserve(groups);
  }

  GgmlType type_;
  Bytes bytes_;
  std::size_t row_bytes_;
  std::int64_t first_row_;
  RowOrder order_;
};

}  // namespace

TensorSourcePtr make_gguf_source(const GgufTensor& tensor, std::vector<std::int64_t> shape,
                                 std::int64_t first_row, RowOrder order) {
  return std::make_unique<GgufSource>(tensor, std::move(shape), first_row, order);
}

}  // namespace tessera
