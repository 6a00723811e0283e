#include "adapters/validator.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>

#include "adapters/module_naming.hpp"
#include "adapters/module_plan.hpp"
#include "adapters/peft_config.hpp"
#include "adapters/safetensors.hpp"
#include "adapters/tensor_binding.hpp"
#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

using enum FindingCode;

Finding about_tensor(FindingCode code, std::string_view subject, std::string message) {
  return {.code = code,
          .about = Finding::About::kTensor,
          .subject = std::string(subject),
          .message = std::move(message)};
}

// What the config says about the base, and what it needs of it.
void check_base(const PeftConfig& config, const BaseModel& base,
                const std::vector<PlannedModule>& plan, Findings& findings) {
  if (!base.accepts(config.base_model_name_or_path)) {
    findings.push_back({.code = kBaseModelMismatch,
                        .about = Finding::About::kField,
                        .subject = "base_model_name_or_path",
                        .expected = base.name,
                        .actual = config.base_model_name_or_path,
                        .message = "The adapter was trained on another base model."});
  }
  const bool touches_table = std::ranges::any_of(plan, [](const PlannedModule& module) {
    return module.is_targeted && module.base.kind != ModuleKind::kLinear;
  });
  if (config.ensure_weight_tying && touches_table) {
    findings.push_back({.code = kUnsupportedWeightTying,
                        .about = Finding::About::kField,
                        .subject = "ensure_weight_tying",
                        .expected = "false",
                        .actual = "true",
                        .message = "Adapters tied between embedding and head are not served."});
  }
}

// Holds the tensors of one module against the base's shape and, if the config could be read,
// against the plan; makes the AdapterModule if all is well.
class ModuleCheck {
 public:
  // `num_experts` is the base's.
  ModuleCheck(const BaseModule& base, const PlannedModule* plan, int num_experts,
              const AdapterLimits& limits, Report& report)
      : base_(base),
        plan_(plan),
        pairs_(base.is_parameter() ? num_experts : 1),
        limits_(limits),
        report_(report) {}

  std::optional<AdapterModule> run(const BoundPair& pair) {
    if (!is_expected(!pair.is_empty()) || pair.is_empty()) return std::nullopt;
    const bool whole = has_both(pair);
    const bool sound_a = pair.a != nullptr && check_form(*pair.a, /*is_a=*/true);
    const bool sound_b = pair.b != nullptr && check_form(*pair.b, /*is_a=*/false);
    if (!whole || !sound_a || !sound_b || !ranks_agree(pair)) return std::nullopt;
    return read(pair);
  }

 private:
  void refuse(FindingCode code, std::string_view subject, std::string message,
              std::string expected = {}, std::string actual = {}) {
    Finding finding = about_tensor(code, subject, std::move(message));
    finding.expected = std::move(expected);
    finding.actual = std::move(actual);
    report_.findings.push_back(std::move(finding));
  }

  // The modules that the config targets are exactly those that have tensors.
  bool is_expected(bool has_tensors) {
    if (plan_ == nullptr || plan_->is_targeted == has_tensors) return true;
    if (has_tensors) {
      refuse(kModuleNotTargeted, base_.path, "The config does not target this module.");
    } else {
      refuse(kTargetWithoutTensors, base_.path,
             "The config targets this module; it has no tensors.");
    }
    return false;
  }

  bool has_both(const BoundPair& pair) {
    if (pair.a == nullptr) refuse(kMissingLoraA, base_.path, "The module has B but no A.");
    if (pair.b == nullptr) refuse(kMissingLoraB, base_.path, "The module has A but no B.");
    return pair.a != nullptr && pair.b != nullptr;
  }

  // Dtype and shape of one half: A is (rank, in), B is (out, rank).
  bool check_form(const StoredTensor& tensor, bool is_a) {
    if (!is_adapter_dtype(tensor.dtype)) {
      refuse(kUnsupportedTensorDtype, tensor.name, "Adapters are stored in 16 or 32 bit floats.",
             "F32, F16 or BF16", std::string(dtype_name(tensor.dtype)));
      return false;
    }
    const std::int64_t features = is_a ? base_.shape.in_features : base_.shape.out_features;
    const bool fits = tensor.shape.size() == 2 && tensor.shape[is_a ? 1 : 0] == features;
    if (!fits) {
      refuse(kTensorShapeMismatch, tensor.name, "The shape does not fit the base's module.",
             expected_shape(is_a, features), shape_text(tensor.shape));
      return false;
    }
    return check_rank(tensor, is_a, features);
  }

  bool check_rank(const StoredTensor& tensor, bool is_a, std::int64_t features) {
    const std::int64_t ranks = tensor.shape[is_a ? 0 : 1];  // of all experts, in a parameter's
    const std::int64_t rank = ranks % pairs_ == 0 ? ranks / pairs_ : 0;
    const bool fits =
        plan_ != nullptr ? rank == plan_->rank : rank >= 1 && rank <= limits_.max_rank;
    if (fits) return true;
    refuse(kRankMismatch, tensor.name, "The rank is not the one that the config gives this module.",
           expected_shape(is_a, features), shape_text(tensor.shape));
    return false;
  }

  std::string expected_shape(bool is_a, std::int64_t features) const {
    const std::string rank = plan_ != nullptr ? std::to_string(plan_->rank * pairs_) : "r";
    const std::string size = std::to_string(features);
    return is_a ? "[" + rank + ", " + size + "]" : "[" + size + ", " + rank + "]";
  }

  bool ranks_agree(const BoundPair& pair) {
    if (pair.a->shape[0] == pair.b->shape[1]) return true;
    refuse(kRankMismatch, pair.b->name, "A and B have different ranks.",
           std::to_string(pair.a->shape[0]), std::to_string(pair.b->shape[1]));
    return false;
  }

  std::optional<AdapterModule> read(const BoundPair& pair) {
    const float scale = plan_ != nullptr ? plan_->scale : 1.0F;
    AdapterModule module{.base = base_,
                         .rank = static_cast<int>(pair.a->shape[0] / pairs_),
                         .scale = scale,
                         .a = read_values(*pair.a),
                         .b = read_values(*pair.b)};
    const ValueStats a = stats_of(module.a);
    const ValueStats b = stats_of(module.b);
    const bool sound_a = check_values(*pair.a, a, 1.0F);
    const bool sound_b = check_values(*pair.b, b, std::max(1.0F, scale));
    if (!sound_a || !sound_b) return std::nullopt;
    report_.max_norm_a = std::max(report_.max_norm_a, a.norm);
    report_.max_norm_b = std::max(report_.max_norm_b, b.norm * static_cast<double>(scale));
    return module;
  }

  bool check_values(const StoredTensor& tensor, const ValueStats& stats, float scale) {
    if (!stats.all_finite) {
      refuse(kNonFiniteValue, tensor.name, "The tensor holds a NaN or an infinity.");
      return false;
    }
    // Written so that a NaN (an infinite scale times zero) fails, too.
    if (stats.max_magnitude * scale <= limits_.max_magnitude) return true;
    refuse(kValueTooLarge, tensor.name, "The tensor, scaled, holds a value of absurd size.",
           "at most " + std::to_string(limits_.max_magnitude),
           std::to_string(stats.max_magnitude * scale));
    return false;
  }

  const BaseModule& base_;
  const PlannedModule* plan_;  // null if the config could not be read
  const int pairs_;            // that a pair of tensors holds
  const AdapterLimits& limits_;
  Report& report_;
};

void count(const AdapterModule& module, Report& report) {
  ++report.coverage.modules_bound;
  ++report.coverage.modules_by_target[std::string(module.base.target())];
  report.rank_max = std::max(report.rank_max, module.rank);
  report.rank_min = report.rank_min == 0 ? module.rank : std::min(report.rank_min, module.rank);
}

void check_effect(Report& report) {
  const bool has_effect = report.max_norm_a > 0.0 && report.max_norm_b > 0.0;
  if (has_effect || report.coverage.modules_bound == 0) return;
  report.findings.push_back(
      {.code = kAdapterIsNoop,
       .severity = Severity::kWarning,
       .message = "All of A or all of B is zero: answers will be the base's."});
}

// The plan of the config, if that can be read. It is held against the base here, too.
std::vector<PlannedModule> make_plan(const PeftConfig& config, const BaseModel& base,
                                     const std::vector<BaseModule>& modules, Findings& findings) {
  Findings found;
  std::vector<PlannedModule> plan = plan_modules(config, modules, found);
  if (has_errors(found)) plan.clear();  // what it targets is not known
  check_base(config, base, plan, found);
  std::ranges::move(found, std::back_inserter(findings));
  return plan;
}

Checked<SafetensorsFile> read_tensors(std::span<const std::byte> bytes,
                                      const AdapterLimits& limits) {
  SafetensorsLimits container;
  container.max_header_bytes = limits.header_limit(bytes.size());
  auto file = parse_safetensors(bytes, container);
  if (file && file->tensors.empty()) {
    return Finding{.code = kNoTensors, .message = "The file holds no tensors."};
  }
  return file;
}

void sort_canonically(const ModelSpec& spec, Adapter& adapter) {
  std::unordered_map<std::string, std::size_t> place_of;
  for (BaseModule& module : base_modules(spec)) {
    place_of.emplace(std::move(module.path), place_of.size());
  }
  std::ranges::sort(adapter.modules, {},
                    [&](const AdapterModule& module) { return place_of.at(module.base.path); });
}

// `modules` are named_modules() of the base in the adapter's naming, `plan` theirs or empty.
Adapter read_modules(const SafetensorsFile& file, const BaseModel& base,
                     const std::vector<BaseModule>& modules, const std::vector<PlannedModule>& plan,
                     const AdapterLimits& limits, Report& report) {
  Binding binding = bind_tensors(file, base, modules, report.findings);
  report.coverage.tensors_total = static_cast<int>(file.tensors.size());
  report.coverage.tensors_bound = binding.tensors_bound;
  report.renamed = std::move(binding.renamed);

  Adapter adapter{.num_layers = base.spec.num_layers(), .num_experts = base.spec.num_experts};
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const PlannedModule* planned = plan.empty() ? nullptr : &plan[i];
    ModuleCheck check(modules[i], planned, base.spec.num_experts, limits, report);
    auto module = check.run(binding.pairs[i]);
    if (!module) continue;
    count(*module, report);
    std::ranges::move(split_module(std::move(*module), base.spec),
                      std::back_inserter(adapter.modules));
  }
  sort_canonically(base.spec, adapter);
  check_effect(report);
  return adapter;
}

void shorten(Report& report) {
  if (report.findings.size() <= Report::kMaxFindings) return;
  const auto is_error = [](const Finding& finding) { return finding.severity == Severity::kError; };
  std::stable_partition(report.findings.begin(), report.findings.end(), is_error);
  report.findings_left_out = static_cast<int>(report.findings.size() - Report::kMaxFindings);
  report.findings.erase(report.findings.begin() + Report::kMaxFindings, report.findings.end());
}

}  // namespace

std::size_t AdapterLimits::header_limit(std::size_t file_bytes) const {
  return std::min(max_header_bytes, file_bytes / 100 + (std::size_t{64} << 10));
}

Validation validate_adapter(std::string_view config, std::span<const std::byte> tensors,
                            const BaseModel& base, const AdapterLimits& limits) {
  Validation validation;
  Report& report = validation.report;
  const PeftConfigLimits config_limits{.max_bytes = limits.max_config_bytes,
                                       .max_rank = limits.max_rank};
  const auto read = parse_peft_config(config, config_limits, report.findings);
  const auto file = read_tensors(tensors, limits);
  const auto modules = named_modules(
      base.spec, naming_of(file ? &*file : nullptr, read ? &*read : nullptr, base.spec));
  std::vector<PlannedModule> plan;
  if (read) plan = make_plan(*read, base, modules, report.findings);
  if (file) {
    Adapter adapter = read_modules(*file, base, modules, plan, limits, report);
    if (report.ok()) validation.adapter = std::move(adapter);
  } else {
    report.findings.push_back(file.error());
  }
  shorten(report);
  return validation;
}

}  // namespace tessera
