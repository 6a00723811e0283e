#include "adapters/validator.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>

#include "adapters/dora.hpp"
#include "adapters/module_check.hpp"
#include "adapters/module_naming.hpp"
#include "adapters/module_plan.hpp"
#include "adapters/peft_config.hpp"
#include "adapters/safetensors.hpp"
#include "adapters/saved_rows.hpp"
#include "adapters/tensor_binding.hpp"
#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

using enum FindingCode;

void check_base(const PeftConfig& config, const BaseModel& base, Findings& findings) {
  const auto refuse = [&](FindingCode code, std::string_view field, std::string expected,
                          std::string actual, std::string message) {
    findings.push_back({.code = code,
                        .about = Finding::About::kField,
                        .subject = std::string(field),
                        .expected = std::move(expected),
                        .actual = std::move(actual),
                        .message = std::move(message)});
  };
  if (!base.accepts(config.base_model_name_or_path)) {
    refuse(kBaseModelMismatch, "base_model_name_or_path", base.name, config.base_model_name_or_path,
           "The adapter was trained on another base model.");
  }
  for (const TokenId id : config.invocation) {
    if (id < base.spec.vocab_size) continue;
    refuse(kInvalidConfigValue, "alora_invocation_tokens",
           "below " + std::to_string(base.spec.vocab_size), std::to_string(id),
           "The base has no such token.");
  }
}

void count(const AdapterModule& module, Report& report) {
  ++report.coverage.modules_bound;
  ++report.coverage.modules_by_target[std::string(module.base.target())];
  if (module.rank == 0) return;  // a bias alone
  report.rank_max = std::max(report.rank_max, module.rank);
  report.rank_min = report.rank_min == 0 ? module.rank : std::min(report.rank_min, module.rank);
}

bool has_any(const std::vector<float>& values) {
  return std::ranges::any_of(values, [](float value) { return value != 0.0F; });
}

// A scale that is 1 but for rounding has no effect: so is DoRA's before it is trained.
bool scales(const std::vector<float>& out_scale) {
  constexpr float kRounding = 1e-5F;
  return std::ranges::any_of(out_scale,
                             [](float value) { return std::fabs(value - 1.0F) > kRounding; });
}

bool has_effect(const Adapter& adapter) {
  if (!adapter.embed_rows.ids.empty() || !adapter.head_rows.ids.empty()) return true;
  AdapterModule buffer;
  return std::ranges::any_of(adapter.modules, [&buffer](const AdapterModule& module) {
    const AdapterModule& loaded = with_pair(module, buffer);
    return (has_any(loaded.a) && has_any(loaded.b)) || has_any(loaded.bias) ||
           scales(loaded.out_scale);
  });
}

void check_effect(const Adapter& adapter, Report& report) {
  if (adapter.modules.empty() || has_effect(adapter)) return;
  report.findings.push_back(
      {.code = kAdapterIsNoop,
       .severity = Severity::kWarning,
       .message = "All of A or all of B is zero: answers will be the base's."});
}

// The plan of the config, if that can be read. It is held against the base here, too.
std::vector<PlannedModule> make_plan(const PeftConfig& config, const BaseModel& base,
                                     const std::vector<BaseModule>& modules, Findings& findings) {
  Findings found;
  std::vector<PlannedModule> plan = plan_modules(config, base.spec, modules, found);
  if (has_errors(found)) plan.clear();  // what it targets is not known
  check_base(config, base, found);
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

// What is made of the base's numbers, and so needs them.
class DoraScales {
 public:
  DoraScales(const BaseModel& base, const SavedRows& rows, float max_magnitude, Findings& findings)
      : base_(base), rows_(rows), max_magnitude_(max_magnitude), findings_(findings) {}

  void set(AdapterModule& module) {
    if (module.magnitude.empty()) return;
    if (base_.weights == nullptr) {
      return refuse(kBaseWeightsNeeded, module,
                    "The base's weights are not at hand, and DoRA needs the norms of this one.");
    }
    load_pair(module);
    set_out_scale(module, *base_.weights, replaced(module));
    const ValueStats stats = stats_of(module.out_scale);
    if (stats.all_finite && stats.max_magnitude <= max_magnitude_) return;
    refuse(stats.all_finite ? kValueTooLarge : kNonFiniteValue, module,
           "The magnitude, divided by the norm of a row, is of absurd size.");
  }

 private:
  const AdapterRows& replaced(const AdapterModule& module) const {
    static const AdapterRows kNone;
    if (module.base.kind == ModuleKind::kEmbed) return rows_.embed;
    return module.base.kind == ModuleKind::kHead ? rows_.head : kNone;
  }

  void refuse(FindingCode code, const AdapterModule& module, std::string message) {
    findings_.push_back({.code = code,
                         .about = Finding::About::kTensor,
                         .subject = module.base.path,
                         .message = std::move(message)});
  }

  const BaseModel& base_;
  const SavedRows& rows_;
  const float max_magnitude_;
  Findings& findings_;
};

// (cols, rows) of (rows, cols)
std::vector<float> transposed(const std::vector<float>& values, int rows) {
  const auto height = static_cast<std::size_t>(rows);
  const std::size_t width = values.size() / height;
  std::vector<float> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    result[i % width * height + i / width] = values[i];
  return result;
}

// The head's pair of a tied base is the embedding's, transposed.
void check_tied_pairs(const Adapter& adapter, std::span<const PlannedModule> plan,
                      Findings& findings) {
  if (std::ranges::none_of(plan, &PlannedModule::is_tied)) return;
  const auto of_kind = [&](ModuleKind kind) {
    return std::ranges::find(adapter.modules, kind,
                             [](const AdapterModule& module) { return module.base.kind; });
  };
  const auto embed = of_kind(ModuleKind::kEmbed);
  const auto head = of_kind(ModuleKind::kHead);
  if (embed == adapter.modules.end() || head == adapter.modules.end()) return;  // told already
  AdapterModule head_buffer;
  AdapterModule embed_buffer;
  const AdapterModule& pair = with_pair(*head, head_buffer);
  const AdapterModule& tied = with_pair(*embed, embed_buffer);
  if (pair.rank == tied.rank && pair.a == transposed(tied.b, tied.base.shape.out_features) &&
      pair.b == transposed(tied.a, tied.rank)) {
    return;
  }
  findings.push_back({.code = kUnsupportedWeightTying,
                      .about = Finding::About::kField,
                      .subject = "ensure_weight_tying",
                      .message = "The pairs of embedding and head are tied, and not the same."});
}

// What the tensors are held against. `modules` are named_modules() of the base in the adapter's
// naming; `config` is null if it could not be read, and `plan`, theirs, is empty then, or if it
// could not be made.
struct Expected {
  const PeftConfig* config = nullptr;
  const BaseModel& base;
  const std::vector<BaseModule>& modules;
  const std::vector<PlannedModule>& plan;
  const AdapterLimits& limits;
  const PairReading reading;
};

std::vector<AdapterModule> read_modules(const Binding& binding, const Expected& expected,
                                        const SavedRows& rows, Report& report) {
  std::vector<AdapterModule> read;
  DoraScales dora(expected.base, rows, expected.limits.max_magnitude, report.findings);
  for (std::size_t i = 0; i < expected.modules.size(); ++i) {
    const PlannedModule* planned = expected.plan.empty() ? nullptr : &expected.plan[i];
    ModuleCheck check(expected.modules[i], planned, expected.base, expected.limits, report);
    auto module = check.run(binding.modules[i]);
    if (!module) continue;
    const bool splits = module->base.fusion != Fusion::kNone;
    if (splits || expected.reading == PairReading::kNow) load_pair(*module);
    dora.set(*module);
    count(*module, report);
    std::ranges::move(split_module(std::move(*module), expected.base.spec),
                      std::back_inserter(read));
  }
  return read;
}

Adapter read_adapter(const SafetensorsFile& file, const Expected& expected, Report& report) {
  const BaseModel& base = expected.base;
  Binding binding = bind_tensors(file, expected.modules, report.findings);
  report.coverage.tensors_total = static_cast<int>(file.tensors.size());
  report.coverage.tensors_bound = binding.tensors_bound;
  report.renamed = std::move(binding.renamed);

  SavedRows rows;
  if (!expected.plan.empty()) {
    rows = read_saved_rows(*expected.config, base, expected.plan, binding.modules,
                           expected.limits.max_magnitude, report.findings);
  }
  Adapter adapter{.num_layers = base.spec.num_layers(), .num_experts = base.spec.num_experts};
  adapter.modules = read_modules(binding, expected, rows, report);
  adapter.embed_rows = std::move(rows.embed);
  adapter.head_rows = std::move(rows.head);
  if (expected.config != nullptr) adapter.invocation = expected.config->invocation;
  report.coverage.rows_replaced =
      static_cast<int>(adapter.embed_rows.ids.size() + adapter.head_rows.ids.size());
  sort_canonically(base.spec, adapter);
  check_tied_pairs(adapter, expected.plan, report.findings);
  check_effect(adapter, report);
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
                            const BaseModel& base, const AdapterLimits& limits,
                            PairReading reading) {
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
    Adapter adapter = read_adapter(*file,
                                   {.config = read ? &*read : nullptr,
                                    .base = base,
                                    .modules = modules,
                                    .plan = plan,
                                    .limits = limits,
                                    .reading = reading},
                                   report);
    if (report.ok()) validation.adapter = std::move(adapter);
  } else {
    report.findings.push_back(file.error());
  }
  shorten(report);
  return validation;
}

}  // namespace tessera
