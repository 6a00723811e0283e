#include "engine/model/bnb_source.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <utility>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kDimensionMax = std::int64_t{1} << 24;
constexpr std::array<const char*, 2> kTypes = {"nf4", "fp4"};

std::string state_name(const std::string& weight, const char* type) {
  return weight + ".quant_state.bitsandbytes__" + type;
}

// What a quantisation state and the tensors beside it say.
struct State {
  std::string type;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t block = 0;
  std::int64_t nested_block = 0;  // 0: not nested
  float nested_offset = 0.0F;
  std::array<float, 16> book = {};
  std::array<float, 256> nested_book = {};
  StoredTensor codes = {};
  StoredTensor absmax = {};
  StoredTensor nested_absmax = {};

  std::int64_t blocks() const { return (rows * cols + block - 1) / block; }
};

class BnbSource : public TensorSource {
 public:
  explicit BnbSource(const State& state)
      : TensorSource({state.rows, state.cols}, {state.codes.bytes, state.absmax.bytes}),
        state_(state),
        fits_(state.block <= state.cols &&
              is_group(static_cast<int>(state.block), static_cast<int>(state.cols))) {}

  std::string form() const override {
    return "bitsandbytes " + state_.type + (state_.nested_block > 0 ? " (double-quantised)" : "");
  }
  bool is_quantised() const override { return true; }

  Result<void> read(std::int64_t row, std::span<float> values) const override {
    if (fits_) {
      read_taken(*this, row, values);
      return {};
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t at = row * cols() + static_cast<std::int64_t>(i);
      const auto pair =
          std::to_integer<unsigned>(state_.codes.bytes[static_cast<std::size_t>(at / 2)]);
      values[i] = state_.book[at % 2 == 0 ? pair >> 4U : pair & 15U] * scale(at / state_.block);
    }
    return {};
  }

  std::optional<WeightBuffers> take(std::int64_t row, int rows) const override {
    if (!fits_) return std::nullopt;
    WeightBuffers out;
    out.rows = rows;
    out.cols = static_cast<int>(cols());
    out.form = WeightForm::kBook16;
    out.book = state_.book;
    out.group = static_cast<int>(state_.block);
    out.codes.resize(static_cast<std::size_t>(rows * cols() / 2));
    std::memcpy(out.codes.data(), &state_.codes.bytes[static_cast<std::size_t>(row * cols() / 2)],
                out.codes.size());
    take_scales(row * cols() / state_.block, rows * cols() / state_.block, out);
    return out;
  }

 private:
  float scale(std::int64_t block) const {
    if (state_.nested_block == 0) return float_at(state_.absmax, block);
    const auto code =
        std::to_integer<std::size_t>(state_.absmax.bytes[static_cast<std::size_t>(block)]);
    const float scaled =
        state_.nested_book[code] * float_at(state_.nested_absmax, block / state_.nested_block);
    return scaled + state_.nested_offset;
  }

  void take_scales(std::int64_t first, std::int64_t count, WeightBuffers& out) const {
    const bool as_they_are = state_.nested_block == kAbsmaxBlock && first % kAbsmaxBlock == 0 &&
                             state_.nested_book == kDynamicMap;
    if (!as_they_are) {
      for (std::int64_t i = first; i < first + count; ++i) out.scales.push_back(scale(i));
      return;
    }
    out.absmax_codes.resize(static_cast<std::size_t>(count));
    std::memcpy(out.absmax_codes.data(), &state_.absmax.bytes[static_cast<std::size_t>(first)],
                out.absmax_codes.size());
    for (std::int64_t i = first; i < first + count; i += kAbsmaxBlock) {
      out.absmax_scales.push_back(float_at(state_.nested_absmax, i / kAbsmaxBlock));
    }
    out.absmax_offset = state_.nested_offset;
  }

  State state_;
  bool fits_;  // blocks lie within rows, in a size that WeightMatrix has
};

Error damaged(const std::string& name, const std::string& what) {
  return {Code::kCorrupt, "tensor " + name + ' ' + what};
}

// The numbers of the state's JSON.
Result<State> read_state(const StoredTensor& tensor) {
  std::string text(tensor.bytes.size(), '\0');
  if (!text.empty()) std::memcpy(text.data(), tensor.bytes.data(), text.size());
  auto node = parse_json(text);
  if (!node) return damaged(tensor.name, "is not JSON");
  State state;
  try {
    state.type = node->at("quant_type").get<std::string>();
    state.block = node->at("blocksize").get<std::int64_t>();
    const auto shape = node->at("shape").get<std::vector<std::int64_t>>();
    if (shape.size() != 2) return damaged(tensor.name, "tells of no matrix");
    state.rows = shape[0];
    state.cols = shape[1];
    if (node->contains("nested_blocksize")) {
      state.nested_block = node->at("nested_blocksize").get<std::int64_t>();
      state.nested_offset = node->at("nested_offset").get<float>();
      if (state.nested_block < 1) return damaged(tensor.name, "has an impossible blocksize");
    }
  } catch (const std::exception&) {
    return damaged(tensor.name, "lacks quant_type, blocksize or shape");
  }
  const auto possible = [](std::int64_t size) { return size >= 1 && size <= kDimensionMax; };
  if (!possible(state.rows) || !possible(state.cols) || !possible(state.block) ||
      state.block % 2 != 0) {
    return damaged(tensor.name, "has an impossible blocksize or shape");
  }
  return state;
}

template <std::size_t kSize>
Result<void> read_book(const RawTensors& tensors, const std::string& name,
                       std::array<float, kSize>& book) {
  auto tensor = need_floats(tensors, name, {static_cast<std::int64_t>(kSize)});
  if (!tensor) return tensor.error();
  for (std::size_t i = 0; i < kSize; ++i)
    book[i] = float_at(**tensor, static_cast<std::int64_t>(i));
  return {};
}

Result<void> find_scales(const RawTensors& tensors, const std::string& weight, State& state) {
  const bool nested = state.nested_block > 0;
  auto absmax = need_tensor(tensors, weight + ".absmax", nested ? Dtype::kU8 : Dtype::kF32, 1);
  if (!absmax) return absmax.error();
  if ((*absmax)->shape[0] != state.blocks()) return misfit(**absmax, "the weight's blocks");
  state.absmax = **absmax;
  if (!nested) return {};
  const std::int64_t blocks = (state.blocks() + state.nested_block - 1) / state.nested_block;
  auto scales = need_floats(tensors, weight + ".nested_absmax", {blocks});
  if (!scales) return scales.error();
  state.nested_absmax = **scales;
  return read_book(tensors, weight + ".nested_quant_map", state.nested_book);
}

const StoredTensor* find_state(const RawTensors& tensors, const std::string& weight) {
  for (const char* type : kTypes) {
    const StoredTensor* found = find_tensor(tensors, state_name(weight, type));
    if (found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

bool is_bnb_weight(const RawTensors& tensors, const std::string& weight) {
  return find_state(tensors, weight) != nullptr;
}

Result<TensorSourcePtr> make_bnb_source(const RawTensors& tensors, const std::string& weight) {
  auto state = read_state(*find_state(tensors, weight));
  if (!state) return state.error();
  const StoredTensor* codes = find_tensor(tensors, weight);
  const std::int64_t count = state->rows * state->cols;
  if (codes == nullptr || count % 2 != 0 || std::cmp_not_equal(codes->bytes.size(), count / 2)) {
    return damaged(weight, "is not as long as its quantisation state tells");
  }
  state->codes = *codes;
  if (auto found = find_scales(tensors, weight, *state); !found) return found.error();
  if (auto read = read_book(tensors, weight + ".quant_map", state->book); !read) {
    return read.error();
  }
  return TensorSourcePtr(std::make_unique<BnbSource>(*state));
}

}  // namespace tessera
