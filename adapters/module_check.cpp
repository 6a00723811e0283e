#include "adapters/module_check.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "adapters/base_rows.hpp"

namespace tessera {
namespace {

using enum FindingCode;

// The dense matrix (rows, blocks * cols) of the blocks of its diagonal: (rows, cols), of which each
// block has consecutive rows.
std::vector<float> expand_blocks(const std::vector<float>& stored, std::size_t rows,
                                 std::size_t blocks) {
  const std::size_t cols = stored.size() / rows;
  const std::size_t rows_of_block = rows / blocks;
  std::vector<float> dense(rows * cols * blocks);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first_col = row / rows_of_block * cols;
    std::copy_n(stored.begin() + static_cast<std::ptrdiff_t>(row * cols), cols,
                dense.begin() + static_cast<std::ptrdiff_t>(row * cols * blocks + first_col));
  }
  return dense;
}

std::string vector_text(std::int64_t size) {
  return "[" + std::to_string(size) + "]";
}

}  // namespace

ModuleCheck::ModuleCheck(const BaseModule& module, const PlannedModule* plan, const BaseModel& base,
                         const AdapterLimits& limits, Report& report)
    : module_(module),
      plan_(plan),
      base_(base),
      pairs_(module.is_parameter() ? base.spec.num_experts : 1),
      limits_(limits),
      report_(report) {}

std::optional<AdapterModule> ModuleCheck::run(const BoundModule& bound) {
  const bool is_sound = is_expected(bound) && has_all_parts(bound);
  const bool sound_a = bound.a == nullptr || check_matrix(*bound.a, /*is_a=*/true);
  const bool sound_b = bound.b == nullptr || check_matrix(*bound.b, /*is_a=*/false);
  bool sound_vectors = check_vector(bound.lora_bias);
  sound_vectors &= check_vector(bound.magnitude);
  sound_vectors &= check_vector(bound.bias);
  if (!is_sound || !sound_a || !sound_b || !sound_vectors) return std::nullopt;

  AdapterModule module{.base = module_, .scale = scale()};
  if (bound.a != nullptr && (!ranks_agree(bound) || !read_pair(bound, module))) return std::nullopt;
  if (!read_vectors(bound, module)) return std::nullopt;
  if (module.rank == 0 && module.bias.empty()) return std::nullopt;
  return module;
}

void ModuleCheck::refuse(FindingCode code, std::string_view subject, std::string message,
                         std::string expected, std::string actual) {
  report_.findings.push_back({.code = code,
                              .about = Finding::About::kTensor,
                              .subject = std::string(subject),
                              .expected = std::move(expected),
                              .actual = std::move(actual),
                              .message = std::move(message)});
}

// The modules that the config targets are exactly those that have tensors.
bool ModuleCheck::is_expected(const BoundModule& bound) {
  if (plan_ == nullptr || plan_->is_targeted == bound.has_lora()) return true;
  if (bound.has_lora()) {
    refuse(kModuleNotTargeted, module_.path, "The config does not target this module.");
  } else {
    refuse(kTargetWithoutTensors, module_.path,
           "The config targets this module; it has no tensors.");
  }
  return false;
}

bool ModuleCheck::has_all_parts(const BoundModule& bound) {
  const bool wants_pair = bound.has_lora();
  bool has_all = has_part(bound.a, wants_pair, kMissingLoraA, "A");
  has_all &= has_part(bound.b, wants_pair, kMissingLoraB, "B");
  if (plan_ == nullptr) return has_all;
  has_all &= has_part(bound.lora_bias, plan_->has_lora_bias, kMissingLoraBias, "bias of B");
  has_all &= has_part(bound.magnitude, plan_->has_magnitude, kMissingMagnitude, "magnitude");
  has_all &= has_part(bound.bias, plan_->has_bias, kMissingBias, "bias");
  return has_all;
}

bool ModuleCheck::has_part(const StoredTensor* tensor, bool wanted, FindingCode missing,
                           std::string_view what) {
  if ((tensor != nullptr) == wanted) return true;
  if (wanted) {
    refuse(missing, module_.path, "The module has no " + std::string(what) + ".");
  } else {
    refuse(kUndeclaredTensor, tensor->name,
           "By the config and the base, this module has no " + std::string(what) + ".");
  }
  return false;
}

std::int64_t ModuleCheck::blocks_of(bool is_a) const {
  if (plan_ == nullptr) return 1;
  return plan_->blocks == (is_a ? Blocks::kOfA : Blocks::kOfB) ? plan_->num_blocks : 1;
}

// What one half has that is not the rank: A is (rank, in), B is (out, rank).
std::int64_t ModuleCheck::features(bool is_a) const {
  return is_a ? module_.shape.in_features / blocks_of(true) : module_.shape.out_features;
}

bool ModuleCheck::check_dtype(const StoredTensor& tensor) {
  if (is_adapter_dtype(tensor.dtype)) return true;
  refuse(kUnsupportedTensorDtype, tensor.name, "Adapters are stored in 16 or 32 bit floats.",
         "F32, F16 or BF16", std::string(dtype_name(tensor.dtype)));
  return false;
}

bool ModuleCheck::check_matrix(const StoredTensor& tensor, bool is_a) {
  if (!check_dtype(tensor)) return false;
  const std::int64_t size = features(is_a);
  const bool fits = tensor.shape.size() == 2 && tensor.shape[is_a ? 1 : 0] == size;
  if (fits) return check_rank(tensor, is_a, size);
  refuse(kTensorShapeMismatch, tensor.name, "The shape does not fit the base's module.",
         expected_shape(is_a, size), shape_text(tensor.shape));
  return false;
}

bool ModuleCheck::check_rank(const StoredTensor& tensor, bool is_a, std::int64_t features) {
  const std::int64_t stored = tensor.shape[is_a ? 0 : 1];  // of all experts, in a parameter's
  const std::int64_t ranks = is_a ? stored : stored * blocks_of(false);
  const std::int64_t rank = ranks % pairs_ == 0 ? ranks / pairs_ : 0;
  const bool fits = plan_ != nullptr ? rank == plan_->rank : rank >= 1 && rank <= limits_.max_rank;
  if (fits) return true;
  refuse(kRankMismatch, tensor.name, "The rank is not the one that the config gives this module.",
         expected_shape(is_a, features), shape_text(tensor.shape));
  return false;
}

std::string ModuleCheck::expected_shape(bool is_a, std::int64_t features) const {
  const std::string rank =
      plan_ != nullptr ? std::to_string(plan_->rank * pairs_ / (is_a ? 1 : blocks_of(false))) : "r";
  const std::string size = std::to_string(features);
  return is_a ? "[" + rank + ", " + size + "]" : "[" + size + ", " + rank + "]";
}

bool ModuleCheck::check_vector(const StoredTensor* tensor) {
  if (tensor == nullptr) return true;
  if (!check_dtype(*tensor)) return false;
  if (tensor->shape == std::vector<std::int64_t>{module_.shape.out_features}) return true;
  refuse(kTensorShapeMismatch, tensor->name, "The shape does not fit the base's module.",
         vector_text(module_.shape.out_features), shape_text(tensor->shape));
  return false;
}

bool ModuleCheck::ranks_agree(const BoundModule& bound) {
  if (bound.a->shape[0] == bound.b->shape[1] * blocks_of(false)) return true;
  refuse(kRankMismatch, bound.b->name, "A and B have different ranks.",
         std::to_string(bound.a->shape[0]), std::to_string(bound.b->shape[1]));
  return false;
}

// What the tensor's values come to, if they are finite and, scaled, of a sane size.
std::optional<ValueStats> ModuleCheck::check_values(const StoredTensor& tensor,
                                                    std::span<const float> values, float scale) {
  const ValueStats stats = stats_of(values);
  if (!stats.all_finite) {
    refuse(kNonFiniteValue, tensor.name, "The tensor holds a NaN or an infinity.");
    return std::nullopt;
  }
  // Written so that a NaN (an infinite scale times zero) fails, too.
  if (stats.max_magnitude * scale <= limits_.max_magnitude) return stats;
  refuse(kValueTooLarge, tensor.name, "The tensor, scaled, holds a value of absurd size.",
         "at most " + std::to_string(limits_.max_magnitude),
         std::to_string(stats.max_magnitude * scale));
  return std::nullopt;
}

std::optional<std::vector<float>> ModuleCheck::read_checked(const StoredTensor& tensor,
                                                            float scale) {
  std::vector<float> values = read_values(tensor);
  if (!check_values(tensor, values, scale)) return std::nullopt;
  return values;
}

bool ModuleCheck::read_pair(const BoundModule& bound, AdapterModule& module) {
  std::vector<float> a = read_values(*bound.a);
  std::vector<float> b = read_values(*bound.b);
  const auto stats_a = check_values(*bound.a, a, 1.0F);
  const auto stats_b = check_values(*bound.b, b, std::max(1.0F, scale()));
  if (!stats_a || !stats_b) return false;
  report_.max_norm_a = std::max(report_.max_norm_a, stats_a->norm);
  report_.max_norm_b = std::max(report_.max_norm_b, stats_b->norm * static_cast<double>(scale()));
  module.rank = static_cast<int>(bound.a->shape[0] / pairs_);
  const auto rows_a = static_cast<std::size_t>(bound.a->shape[0]);
  const auto rows_b = static_cast<std::size_t>(bound.b->shape[0]);
  const auto blocks_a = static_cast<std::size_t>(blocks_of(true));
  const auto blocks_b = static_cast<std::size_t>(blocks_of(false));
  if (blocks_a <= 1 && blocks_b <= 1) {
    module.stored = StoredPair{.a_dtype = bound.a->dtype,
                               .a = bound.a->bytes,
                               .b_dtype = bound.b->dtype,
                               .b = bound.b->bytes};
    return true;
  }
  module.a = blocks_a > 1 ? expand_blocks(a, rows_a, blocks_a) : std::move(a);
  module.b = blocks_b > 1 ? expand_blocks(b, rows_b, blocks_b) : std::move(b);
  return true;
}

bool ModuleCheck::read_vectors(const BoundModule& bound, AdapterModule& module) {
  if (bound.magnitude != nullptr) {
    auto magnitude = read_checked(*bound.magnitude, 1.0F);
    if (!magnitude) return false;
    module.magnitude = std::move(*magnitude);
  }
  return read_bias(bound, module);
}

// What is added to the base's own bias: that of B, scaled, and the trained one less the base's.
bool ModuleCheck::read_bias(const BoundModule& bound, AdapterModule& module) {
  if (bound.lora_bias != nullptr) {
    auto bias = read_checked(*bound.lora_bias, std::max(1.0F, scale()));
    if (!bias) return false;
    for (float& value : *bias) value *= scale();
    module.bias = std::move(*bias);
  }
  if (bound.bias == nullptr) return true;
  const auto bias = read_checked(*bound.bias, 1.0F);
  if (!bias || plan_ == nullptr) return false;
  if (base_.weights == nullptr) {
    refuse(kBaseWeightsNeeded, bound.bias->name,
           "The base's weights are not at hand, and this bias replaces one of them.");
    return false;
  }
  const std::vector<float> own = base_bias(*base_.weights, module_);
  module.bias.resize(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) module.bias[i] += (*bias)[i] - own[i];
  return true;
}

}  // namespace tessera
