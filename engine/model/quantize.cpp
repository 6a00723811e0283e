#include "engine/model/quantize.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "adapters/tensor_values.hpp"
#include "engine/model/model_source.hpp"
#include "engine/model/packed_writer.hpp"
#include "kernels/bf16.hpp"
#include "kernels/nf4.hpp"

namespace tessera {
namespace {

// One tensor of the source and what becomes of it.
struct Step {
  enum class Form : std::uint8_t { kNf4, kBf16, kFp32 };

  std::string tensor;  // Hugging Face's name
  std::string section;
  std::vector<std::int64_t> shape;
  Form form;
};

Step linear_step(const ModelSpec& spec, int layer, Linear linear) {
  const bool mlp = linear == Linear::kGate || linear == Linear::kUp || linear == Linear::kDown;
  const std::string module =
      std::string(mlp ? "mlp." : "self_attn.") + std::string(linear_name(linear));
  const LinearShape shape = spec.shape(linear);
  return {.tensor = "model.layers." + std::to_string(layer) + '.' + module + ".weight",
          .section = packed::layer_name(layer, linear_name(linear)),
          .shape = {shape.out_features, shape.in_features},
          .form = Step::Form::kNf4};
}

Step norm_step(const ModelSpec& spec, const std::string& tensor, const std::string& section) {
  return {.tensor = tensor, .section = section, .shape = {spec.hidden}, .form = Step::Form::kFp32};
}

Step table_step(const ModelSpec& spec, const std::string& tensor, const std::string& section) {
  return {.tensor = tensor,
          .section = section,
          .shape = {spec.vocab_size, spec.hidden},
          .form = Step::Form::kBf16};
}

// Every tensor of a Llama model, in the order of the packed file's sections.
std::vector<Step> plan(const ModelSpec& spec) {
  std::vector<Step> steps = {table_step(spec, "model.embed_tokens.weight", "embedding")};
  for (int i = 0; i < spec.num_layers(); ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + '.';
    steps.push_back(
        norm_step(spec, layer + "input_layernorm.weight", packed::layer_name(i, "attention_norm")));
    steps.push_back(norm_step(spec, layer + "post_attention_layernorm.weight",
                              packed::layer_name(i, "mlp_norm")));
    for (const Linear linear : kAllLinears) steps.push_back(linear_step(spec, i, linear));
  }
  steps.push_back(norm_step(spec, "model.norm.weight", "final_norm"));
  if (!spec.tied_embeddings) steps.push_back(table_step(spec, "lm_head.weight", "head"));
  return steps;
}

// A tensor that the model would not use is a sign of an architecture we have misread; except the
// copies that some tools save.
Result<void> check_all_planned(const ModelSource& source, const std::vector<Step>& steps) {
  std::set<std::string_view> planned;
  for (const Step& step : steps) planned.insert(step.tensor);
  for (const std::string_view name : source.tensor_names()) {
    const bool is_copy = name.ends_with(".rotary_emb.inv_freq") ||
                         (name == "lm_head.weight" && source.spec().tied_embeddings);
    if (!planned.contains(name) && !is_copy) {
      return Error{Code::kUnsupportedModel,
                   "tensor " + std::string(name) + " has no place in a LlamaForCausalLM"};
    }
  }
  return {};
}

Result<void> write_step(const Step& step, std::span<const float> values, packed::Writer& writer) {
  switch (step.form) {
    case Step::Form::kNf4:
      return writer.add_matrix(step.section, quantize_nf4(values, static_cast<int>(step.shape[0]),
                                                          static_cast<int>(step.shape[1])));
    case Step::Form::kBf16: {
      std::vector<Bf16> rounded(values.size());
      std::transform(values.begin(), values.end(), rounded.begin(), float_to_bf16);
      return writer.add(step.section, std::span<const Bf16>(rounded));
    }
    case Step::Form::kFp32:
      return writer.add(step.section, values);
  }
  return {};
}

Result<void> quantize_step(const ModelSource& source, const Step& step, packed::Writer& writer) {
  auto tensor = source.tensor(step.tensor, step.shape);
  if (!tensor) return tensor.error();
  const std::vector<float> values = read_values(**tensor);
  if (!stats_of(values).all_finite) {
    return Error{Code::kCorrupt,
                 "tensor " + step.tensor + " has a value that is not a finite number"};
  }
  return write_step(step, values, writer);
}

std::string directory_name(const std::filesystem::path& directory) {
  const auto absolute = std::filesystem::absolute(directory).lexically_normal();
  return absolute.has_filename() ? absolute.filename().string()
                                 : absolute.parent_path().filename().string();
}

}  // namespace

Result<QuantizeSummary> quantize_model(
    const std::filesystem::path& source_directory, const std::filesystem::path& destination,
    const QuantizeOptions& options, const std::function<void(const QuantizeProgress&)>& progress) {
  auto source = ModelSource::open(source_directory);
  if (!source) return source.error();
  const std::vector<Step> steps = plan(source->spec());
  if (auto checked = check_all_planned(*source, steps); !checked) return checked.error();

  auto writer = packed::Writer::create(destination, source->spec());
  if (!writer) return writer.error();
  int done = 0;
  for (const Step& step : steps) {
    if (auto written = quantize_step(*source, step, **writer); !written) return written.error();
    ++done;
    if (progress) {
      progress({.tensor = step.tensor, .done = done, .total = static_cast<int>(steps.size())});
    }
  }
  ModelInfo info = source->info();
  info.name = options.name.empty() ? directory_name(source_directory) : options.name;
  auto digest = (*writer)->finish(info);
  if (!digest) return digest.error();
  return QuantizeSummary{.digest = *digest,
                         .source_bytes = source->weight_bytes(),
                         .packed_bytes = (*writer)->bytes_written()};
}

}  // namespace tessera
