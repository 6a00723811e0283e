#include "engine/model/safetensors_source.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/model/bnb_source.hpp"
#include "engine/model/integer_sources.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Sources = std::map<std::string, TensorSourcePtr, std::less<>>;

Error unsupported(const std::string& field, const Json& value, const std::string& supported) {
  const std::string full = "quantization_config." + field;
  return {Code::kUnsupportedModel,
          "config.json: " + full + ' ' + to_text(value) + " is not supported; " + supported, full};
}

const Json& member(const Json& node, const char* name) {
  static const Json nothing;
  const auto found = node.find(name);
  return found == node.end() ? nothing : *found;
}

// Whether a field is absent or one of these.
bool is_among(const Json& value, std::initializer_list<const char*> allowed) {
  return value.is_null() ||
         std::ranges::any_of(allowed, [&](const char* name) { return value == name; });
}

Result<CheckpointForm> parse_bitsandbytes(const Json& config) {
  if (member(config, "load_in_8bit") == true) {
    return unsupported("load_in_8bit", true, "4-bit checkpoints are");
  }
  return CheckpointForm{.name = "bitsandbytes"};
}

Result<CheckpointForm> parse_gptq(const Json& config) {
  const Json& format = member(config, "checkpoint_format");
  if (!is_among(format, {"gptq", "gptq_v2"})) {
    return unsupported("checkpoint_format", format, "gptq and gptq_v2 are");
  }
  return CheckpointForm{.name = "gptq", .zeros_less_one = format != "gptq_v2"};
}

Result<CheckpointForm> parse_awq(const Json& config) {
  for (const char* field : {"version", "format", "checkpoint_format"}) {
    Json value = member(config, field);
    if (value == "GEMM") value = "gemm";
    if (!is_among(value, {"gemm"})) return unsupported(field, value, "gemm is");
  }
  return CheckpointForm{.name = "awq"};
}

Result<CheckpointForm> parse_compressed(const Json& config) {
  const Json& format = member(config, "format");
  if (!is_among(format, {"pack-quantized", "int-quantized", "float-quantized", "naive-quantized",
                         "dense"})) {
    return unsupported("format", format, "pack-quantized, int-quantized and float-quantized are");
  }
  const Json& sparsity = member(config, "sparsity_config");
  if (sparsity.is_object() && !is_among(member(sparsity, "format"), {"dense"})) {
    return unsupported("sparsity_config.format", member(sparsity, "format"), "dense is");
  }
  return CheckpointForm{.name = "compressed-tensors"};
}

Result<CheckpointForm> parse_fp8(const Json& config) {
  CheckpointForm form{.name = "fp8"};
  const Json& size = member(config, "weight_block_size");
  if (size.is_null()) return form;
  const auto is_size = [](const Json& value) {
    return value.is_number_integer() && value >= 1 && value <= 1 << 20;
  };
  if (!size.is_array() || size.size() != 2 || !is_size(size[0]) || !is_size(size[1])) {
    return unsupported("weight_block_size", size, "two whole numbers are");
  }
  form.blocks = {.rows = size[0].get<std::int64_t>(), .cols = size[1].get<std::int64_t>()};
  return form;
}

bool has_suffix_of_module(std::string_view name, std::string_view module) {
  constexpr std::array kSuffixes = {".qweight",          ".qzeros",
                                    ".scales",           ".g_idx",
                                    ".weight",           ".weight_scale",
                                    ".weight_scale_inv", ".weight_packed",
                                    ".weight_shape",     ".weight_zero_point",
                                    ".weight_g_idx",     ".input_scale",
                                    ".input_zero_point", ".input_global_scale",
                                    ".output_scale",     ".k_scale",
                                    ".v_scale",          ".q_scale"};
  if (!name.starts_with(module)) return false;
  const std::string_view rest = name.substr(module.size());
  return std::ranges::find(kSuffixes, rest) != std::end(kSuffixes) ||
         rest.starts_with(".weight.");  // bitsandbytes
}

class SourceMaker {
 public:
  SourceMaker(const RawTensors& tensors, const CheckpointForm& form)
      : tensors_(tensors), form_(form) {}

  Result<Sources> make() {
    for (const auto& [name, tensor] : tensors_) {
      if (auto added = add_module_of(name, tensor); !added) return added.error();
    }
    for (const auto& [name, tensor] : tensors_) {
      if (!is_of_module(name)) sources_.emplace(name, make_plain_source(tensor));
    }
    return std::move(sources_);
  }

 private:
  Result<void> add_module_of(const std::string& name, const StoredTensor& tensor) {
    const auto stem = [&name](std::string_view suffix) {
      return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : std::string();
    };
    if (const std::string module = stem(".qweight"); !module.empty()) {
      if (form_.name == "awq") return add(module, make_awq_source(tensors_, module));
      if (form_.name == "gptq") {
        return add(module, make_gptq_source(tensors_, module, form_.zeros_less_one));
      }
      return Error{Code::kUnsupportedModel,
                   "tensor " + name + ": config.json has no quantization_config that explains it"};
    }
    if (const std::string module = stem(".weight_packed"); !module.empty()) {
      return add(module, make_packed_source(tensors_, module));
    }
    const std::string module = stem(".weight");
    if (module.empty()) return {};
    if (is_bnb_weight(tensors_, name)) return add(module, make_bnb_source(tensors_, name));
    if (tensor.dtype == Dtype::kF8E4M3) {
      return add(module, make_fp8_source(tensors_, module, form_.blocks));
    }
    if (tensor.dtype == Dtype::kI8 && tensors_.contains(module + ".weight_scale")) {
      return add(module, make_int8_source(tensors_, module));
    }
    return {};
  }

  Result<void> add(const std::string& module, Result<TensorSourcePtr> source) {
    if (!source) return source.error();
    sources_.emplace(module + ".weight", std::move(*source));
    modules_.insert(module);
    return {};
  }

  // Whether some module's source has taken the tensor into account. The module's name is all before
  // one of the last dots.
  bool is_of_module(const std::string& name) const {
    for (std::size_t dot = name.rfind('.'); dot != std::string::npos && dot > 0;
         dot = name.rfind('.', dot - 1)) {
      const std::string module = name.substr(0, dot);
      if (modules_.contains(module)) return has_suffix_of_module(name, module);
      const bool is_attention_scale = name.ends_with(".k_scale") || name.ends_with(".v_scale");
      if (is_attention_scale && modules_.contains(module + ".q_proj")) return true;
    }
    return false;
  }

  const RawTensors& tensors_;
  const CheckpointForm& form_;
  Sources sources_;
  std::set<std::string, std::less<>> modules_;
};

}  // namespace

Result<CheckpointForm> parse_checkpoint_form(const Json& config) {
  if (!config.is_object()) return unsupported("quant_method", config, "an object is");
  const Json& method = member(config, "quant_method");
  if (method == "bitsandbytes") return parse_bitsandbytes(config);
  if (method == "gptq" && member(config, "checkpoint_format") == "gemm") return parse_awq(config);
  if (method == "gptq") return parse_gptq(config);
  if (method == "awq") return parse_awq(config);
  if (method == "compressed-tensors") return parse_compressed(config);
  if (method == "fp8" || method == "fbgemm_fp8") return parse_fp8(config);
  return unsupported("quant_method", method,
                     "bitsandbytes, gptq, awq, compressed-tensors and fp8 are");
}

Result<Sources> make_safetensors_sources(const RawTensors& tensors, const CheckpointForm& form) {
  return SourceMaker(tensors, form).make();
}

}  // namespace tessera
