// gptq_source.cpp — GPTQ and AWQ modules (integer_sources.hpp).
#include <array>
#include <optional>
#include <utility>

#include "engine/model/affine_source.hpp"
#include "engine/model/integer_sources.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kWordBits = 32;
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 24;

// The tensors that both have.
struct Module {
  StoredTensor codes = {};
  StoredTensor zeros = {};
  StoredTensor scales = {};  // (groups, out)
  std::int64_t groups = 0;
  std::int64_t out = 0;

  std::vector<std::span<const std::byte>> stored() const {
    return {codes.bytes, zeros.bytes, scales.bytes};
  }
};

Result<Module> find_module(const RawTensors& tensors, const std::string& module) {
  auto codes = need_tensor(tensors, module + ".qweight", Dtype::kI32, 2);
  if (!codes) return codes.error();
  auto zeros = need_tensor(tensors, module + ".qzeros", Dtype::kI32, 2);
  if (!zeros) return zeros.error();
  const StoredTensor* found = find_tensor(tensors, module + ".scales");
  auto scales = need_floats(tensors, module + ".scales",
                            found != nullptr ? found->shape : std::vector<std::int64_t>{});
  if (!scales) return scales.error();
  const auto& shape = (*scales)->shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > kDimensionMax ||
      shape[1] > kDimensionMax) {
    return misfit(**scales, "a quantised module");
  }
  return Module{**codes, **zeros, **scales, shape[0], shape[1]};
}

class GptqSource : public AffineSource {
 public:
  static Result<TensorSourcePtr> make(Layout layout, const Module& module, bool zeros_less_one) {
    std::unique_ptr<GptqSource> source(new GptqSource(std::move(layout), module, zeros_less_one));
    if (auto prepared = source->prepare(); !prepared) {
      return Error{Code::kCorrupt, module.codes.name + ": " + prepared.error().message};
    }
    return TensorSourcePtr(std::move(source));
  }

 private:
  GptqSource(Layout layout, const Module& module, bool zeros_less_one)
      : AffineSource(std::move(layout), module.stored()),
        module_(module),
        // The writers lower packed words as a whole, borrows and all, so readers raise them so.
        zero_raise_(!zeros_less_one            ? 0U
                    : this->layout().bits == 4 ? 0x11111111U
                                               : 0x01010101U) {}

  void unpack(int row, int rows, std::span<std::uint8_t> codes) const override {
    const int bits = layout().bits;
    const int in_word = static_cast<int>(kWordBits) / bits;
    const auto cols = static_cast<std::size_t>(layout().cols);
    const unsigned mask = (1U << static_cast<unsigned>(bits)) - 1U;
    for (int k = 0; k < layout().cols; k += in_word) {
      const std::int64_t first = std::int64_t{k / in_word} * layout().rows + row;
      for (int i = 0; i < rows; ++i) {
        std::uint32_t word = word_at(module_.codes, first + i);
        std::uint8_t* to = &codes[static_cast<std::size_t>(i) * cols + static_cast<std::size_t>(k)];
        for (int j = 0; j < in_word; ++j, word >>= bits) {
          to[j] = static_cast<std::uint8_t>(word & mask);
        }
      }
    }
  }

  float scale(int row, int group) const override {
    return float_at(module_.scales, std::int64_t{group} * layout().rows + row);
  }

  int zero(int row, int group) const override {
    const int bits = layout().bits;
    const int in_word = static_cast<int>(kWordBits) / bits;
    const std::int64_t words = module_.zeros.shape[1];
    const std::uint32_t word = word_at(module_.zeros, group * words + row / in_word) + zero_raise_;
    const unsigned mask = (1U << static_cast<unsigned>(bits)) - 1U;
    return static_cast<int>(word >> static_cast<unsigned>(row % in_word * bits) & mask);
  }

  Module module_;
  std::uint32_t zero_raise_;
};

class AwqSource : public AffineSource {
 public:
  static Result<TensorSourcePtr> make(Layout layout, const Module& module) {
    std::unique_ptr<AwqSource> source(new AwqSource(std::move(layout), module));
    if (auto prepared = source->prepare(); !prepared) {
      return Error{Code::kCorrupt, module.codes.name + ": " + prepared.error().message};
    }
    return TensorSourcePtr(std::move(source));
  }

 private:
  AwqSource(Layout layout, const Module& module)
      : AffineSource(std::move(layout), module.stored()), module_(module) {}

  // The nibble, from the lowest, that holds output n of a word's eight.
  static unsigned shift(int n) {
    constexpr std::array<unsigned, 8> kNibbles = {0, 4, 1, 5, 2, 6, 3, 7};
    return 4U * kNibbles[static_cast<std::size_t>(n % 8)];
  }

  void unpack(int row, int rows, std::span<std::uint8_t> codes) const override {
    const auto cols = static_cast<std::size_t>(layout().cols);
    const std::int64_t words = layout().rows / 8;
    for (std::size_t k = 0; k < cols; ++k) {
      for (int i = 0; i < rows; ++i) {
        const int n = row + i;
        const std::uint32_t word =
            word_at(module_.codes, static_cast<std::int64_t>(k) * words + n / 8);
        codes[static_cast<std::size_t>(i) * cols + k] =
            static_cast<std::uint8_t>(word >> shift(n) & 15U);
      }
    }
  }

  float scale(int row, int group) const override {
    return float_at(module_.scales, std::int64_t{group} * layout().rows + row);
  }

  int zero(int row, int group) const override {
    const std::int64_t words = layout().rows / 8;
    return static_cast<int>(word_at(module_.zeros, group * words + row / 8) >> shift(row) & 15U);
  }

  Module module_;
};

// g_idx, unless it says what goes without saying.
Result<std::vector<std::int32_t>> find_groups(const RawTensors& tensors, const std::string& name,
                                              std::int64_t cols, std::int64_t groups) {
  if (find_tensor(tensors, name) == nullptr) return std::vector<std::int32_t>{};
  auto tensor = need_tensor(tensors, name, Dtype::kI32, 1);
  if (!tensor) return tensor.error();
  if ((*tensor)->shape[0] != cols) return misfit(**tensor, "the module's inputs");
  std::vector<std::int32_t> group_of = read_int32(**tensor);
  if (cols % groups != 0) return group_of;
  const std::int64_t group = cols / groups;
  for (std::size_t k = 0; k < group_of.size(); ++k) {
    if (group_of[k] != static_cast<std::int64_t>(k) / group) return group_of;
  }
  return std::vector<std::int32_t>{};
}

}  // namespace

Result<TensorSourcePtr> make_gptq_source(const RawTensors& tensors, const std::string& module,
                                         bool zeros_less_one) {
  auto found = find_module(tensors, module);
  if (!found) return found.error();
  const auto& zeros = found->zeros.shape;
  const std::int64_t bits = zeros[1] <= kDimensionMax ? zeros[1] * kWordBits / found->out : 0;
  if (bits != 4 && bits != 8) {
    return Error{Code::kUnsupportedModel, "tensor " + found->codes.name + " is of " +
                                              std::to_string(bits) +
                                              "-bit codes; 4 and 8 bits are supported"};
  }
  if (zeros[0] != found->groups || zeros[1] * kWordBits != found->out * bits) {
    return misfit(found->zeros, "the module's scales");
  }
  const auto& codes = found->codes.shape;
  if (codes[1] != found->out || codes[0] < 1 || codes[0] > kDimensionMax) {
    return misfit(found->codes, "the module's scales");
  }
  const std::int64_t cols = codes[0] * kWordBits / bits;
  auto group_of = find_groups(tensors, module + ".g_idx", cols, found->groups);
  if (!group_of) return group_of.error();
  return GptqSource::make({.name = "GPTQ",
                           .rows = static_cast<int>(found->out),
                           .cols = static_cast<int>(cols),
                           .bits = static_cast<int>(bits),
                           .groups = static_cast<int>(found->groups),
                           .group_of = std::move(*group_of)},
                          *found, zeros_less_one);
}

Result<TensorSourcePtr> make_awq_source(const RawTensors& tensors, const std::string& module) {
  auto found = find_module(tensors, module);
  if (!found) return found.error();
  const std::int64_t words = found->out / 8;
  const auto& codes = found->codes.shape;
  if (found->out % 8 != 0 || codes[1] != words || codes[0] < 1 || codes[0] > kDimensionMax) {
    return misfit(found->codes, "the module's scales");
  }
  if (found->zeros.shape != std::vector<std::int64_t>{found->groups, words}) {
    return misfit(found->zeros, "the module's scales");
  }
  return AwqSource::make({.name = "AWQ",
                          .rows = static_cast<int>(found->out),
                          .cols = static_cast<int>(codes[0]),
                          .bits = 4,
                          .groups = static_cast<int>(found->groups)},
                         *found);
}

}  // namespace tessera
