#include "engine/model/gguf_config.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr GgufFamily kFamilies[] = {
    {.name = "llama",
     .architecture = "LlamaForCausalLM",
     .model_type = "llama",
     .pairs_rows = true},
    {.name = "qwen2", .architecture = "Qwen2ForCausalLM", .model_type = "qwen2"},
    {.name = "qwen3", .architecture = "Qwen3ForCausalLM", .model_type = "qwen3"},
    {.name = "qwen3moe", .architecture = "Qwen3MoeForCausalLM", .model_type = "qwen3_moe"},
    {.name = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .model_type = "gemma2",
     .norms_are_whole = true,
     .post_norms = true},
    {.name = "gemma3",
     .architecture = "Gemma3ForCausalLM",
     .model_type = "gemma3_text",
     .norms_are_whole = true,
     .post_norms = true},
    {.name = "phi3", .architecture = "Phi3ForCausalLM", .model_type = "phi3"},
    {.name = "granite",
     .architecture = "GraniteForCausalLM",
     .model_type = "granite",
     .pairs_rows = true},
    {.name = "olmo2",
     .architecture = "Olmo2ForCausalLM",
     .model_type = "olmo2",
     .post_norms = true},
    {.name = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .model_type = "smollm3",
     .pairs_rows = true},
};
constexpr GgufFamily kMixtral = {.name = "llama",
                                 .architecture = "MixtralForCausalLM",
                                 .model_type = "mixtral",
                                 .pairs_rows = true};

Error unsupported(const std::string& key, const std::string& what) {
  return {Code::kUnsupportedModel, key + ' ' + what, key};
}

// The metadata of one architecture ("llama.block_count"); the first key that is missing or wrong is
// remembered, so that reading is a plain list.
class Reader {
 public:
  Reader(const GgufFile& file, std::string_view name)
      : file_(file), prefix_(std::string(name) + '.') {}

  const std::optional<Error>& error() const { return error_; }
  void fail(const std::string& key, const std::string& what) {
    if (!error_) error_ = unsupported(prefix_ + key, what);
  }

  std::optional<std::int64_t> integer(const std::string& key) const {
    return file_.integer(prefix_ + key);
  }
  std::int64_t needed(const std::string& key) {
    const auto value = integer(key);
    if (!value || *value < 0) fail(key, "must be a whole number");
    return value.value_or(0);
  }
  std::optional<double> number(const std::string& key) const { return file_.number(prefix_ + key); }
  double needed_number(const std::string& key) {
    const auto value = number(key);
    if (!value) fail(key, "must be a number");
    return value.value_or(1.0);
  }
  std::string text(const std::string& key) const {
    const std::string* value = file_.text(prefix_ + key);
    return value == nullptr ? std::string() : *value;
  }
  bool has(const std::string& key) const { return file_.metadata.contains(prefix_ + key); }

 private:
  const GgufFile& file_;
  std::string prefix_;
  std::optional<Error> error_;
};

// The factors of LongRoPE, which are tensors.
Json factors(const GgufFile& file, const char* name) {
  Json list = Json::array();
  const GgufTensor* tensor = file.find(name);
  if (tensor == nullptr || tensor->type != GgmlType::kF32) return list;
  std::vector<float> values(tensor->bytes.size() / sizeof(float));
  read_values_into(Dtype::kF32, tensor->bytes, values);
  for (const float value : values) list.push_back(value);
  return list;
}

void add_sizes(const GgufFile& file, Reader& reader, Json& config) {
  const GgufTensor* embedding = file.find("token_embd.weight");
  const bool is_matrix = embedding != nullptr && embedding->dims.size() == 2;
  config["vocab_size"] = is_matrix ? embedding->dims[1] : reader.needed("vocab_size");
  config["hidden_size"] = reader.needed("embedding_length");
  config["intermediate_size"] = reader.needed("feed_forward_length");
  config["num_hidden_layers"] = reader.needed("block_count");
  config["num_attention_heads"] = reader.needed("attention.head_count");
  config["num_key_value_heads"] =
      reader.integer("attention.head_count_kv").value_or(reader.needed("attention.head_count"));
  const std::int64_t heads = std::max<std::int64_t>(reader.needed("attention.head_count"), 1);
  config["head_dim"] =
      reader.integer("attention.key_length").value_or(reader.needed("embedding_length") / heads);
  config["max_position_embeddings"] = reader.needed("context_length");
  config["rms_norm_eps"] = reader.needed_number("attention.layer_norm_rms_epsilon");
  config["tie_word_embeddings"] = file.find("output.weight") == nullptr;
}

void add_rope(const GgufFile& file, Reader& reader, Json& config) {
  config["rope_theta"] = reader.number("rope.freq_base").value_or(10000.0);
  const auto head_dim = config["head_dim"].get<std::int64_t>();
  const auto rotary = reader.integer("rope.dimension_count");
  if (rotary && *rotary != head_dim && head_dim > 0) {
    config["partial_rotary_factor"] = static_cast<double>(*rotary) / static_cast<double>(head_dim);
  }
  const std::string type = reader.text("rope.scaling.type");
  const auto original = reader.integer("rope.scaling.original_context_length");
  const Json short_factor = factors(file, "rope_factors_short.weight");
  if (!short_factor.empty()) {
    Json rope = {{"rope_type", "longrope"},
                 {"short_factor", short_factor},
                 {"long_factor", factors(file, "rope_factors_long.weight")}};
    if (const auto factor = reader.number("rope.scaling.attn_factor")) {
      rope["attention_factor"] = *factor;
    }
    if (original) config["original_max_position_embeddings"] = *original;
    config["rope_scaling"] = std::move(rope);
  } else if (type == "linear" || type == "yarn") {
    config["rope_scaling"] = {{"rope_type", type},
                              {"factor", reader.needed_number("rope.scaling.factor")}};
    if (original) config["rope_scaling"]["original_max_position_embeddings"] = *original;
  } else if (!type.empty() && type != "none" && type != "longrope") {
    reader.fail("rope.scaling.type", '"' + type + "\" is not supported");
  }
}

// llama.cpp tells Gemma's largest models by their layers; the others scale queries by head_dim.
void add_gemma(Reader& reader, std::int64_t largest_layers, Json& config) {
  config["hidden_activation"] = "gelu_pytorch_tanh";
  const auto layers = config["num_hidden_layers"].get<std::int64_t>();
  const auto heads = std::max<std::int64_t>(config["num_attention_heads"].get<std::int64_t>(), 1);
  config["query_pre_attn_scalar"] = layers == largest_layers
                                        ? config["hidden_size"].get<std::int64_t>() / heads
                                        : config["head_dim"].get<std::int64_t>();
  config["sliding_window"] = reader.needed("attention.sliding_window");
}

void add_gemma2(Reader& reader, Json& config) {
  constexpr std::int64_t kLayersOf27B = 46;
  add_gemma(reader, kLayersOf27B, config);
  config["attn_logit_softcapping"] = reader.number("attn_logit_softcapping").value_or(50.0);
  config["final_logit_softcapping"] = reader.number("final_logit_softcapping").value_or(30.0);
}

void add_gemma3(Reader& reader, Json& config) {
  constexpr std::int64_t kLayersOf27B = 62;
  add_gemma(reader, kLayersOf27B, config);
  config["sliding_window_pattern"] = 6;
  config["rope_local_base_freq"] = reader.number("rope.freq_base_swa").value_or(10000.0);
  if (!reader.has("rope.freq_base")) config["rope_theta"] = 1'000'000.0;
}

void add_granite(Reader& reader, Json& config) {
  config["embedding_multiplier"] = reader.number("embedding_scale").value_or(1.0);
  config["residual_multiplier"] = reader.number("residual_scale").value_or(1.0);
  config["attention_multiplier"] = reader.needed_number("attention.scale");
  config["logits_scaling"] = reader.number("logit_scale").value_or(1.0);
}

void add_experts(Reader& reader, const GgufFamily& family, Json& config) {
  config["num_experts_per_tok"] = reader.needed("expert_used_count");
  if (family.model_type == "mixtral") {
    config["num_local_experts"] = reader.needed("expert_count");
    return;
  }
  config["num_experts"] = reader.needed("expert_count");
  config["moe_intermediate_size"] = reader.needed("expert_feed_forward_length");
  config["norm_topk_prob"] = true;  // as llama.cpp computes it
}

void add_family(const GgufFile& file, Reader& reader, const GgufFamily& family, Json& config) {
  if (family.name == "gemma2") return add_gemma2(reader, config);
  if (family.name == "gemma3") return add_gemma3(reader, config);
  config["hidden_act"] = "silu";
  if (family.name == "phi3") {
    const auto window = reader.integer("attention.sliding_window").value_or(0);
    config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  }
  if (family.name == "llama" || family.name == "granite") {
    const bool biased = file.find("blk.0.attn_q.bias") != nullptr;
    if (family.model_type != "mixtral") config["attention_bias"] = biased;
  }
  if (family.name == "granite") add_granite(reader, config);
  if (family.name == "smollm3") config["no_rope_layer_interval"] = 4;
  if (family.model_type == "mixtral" || family.name == "qwen3moe") {
    add_experts(reader, family, config);
  }
}

void add_tokens(const GgufFile& file, Json& config) {
  if (const auto bos = file.integer("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *bos;
  Json eos = Json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const auto id = file.integer(key);
    if (id && std::ranges::find(eos, Json(*id)) == eos.end()) eos.push_back(*id);
  }
  if (!eos.empty()) config["eos_token_id"] = std::move(eos);
}

}  // namespace

Result<const GgufFamily*> gguf_family(const GgufFile& file) {
  const std::string* name = file.text("general.architecture");
  if (name == nullptr) return unsupported("general.architecture", "is missing");
  const auto* const found = std::ranges::find(kFamilies, *name, &GgufFamily::name);
  if (found == std::end(kFamilies)) {
    std::string what = '"' + *name + "\" is not one of";
    for (const GgufFamily& family : kFamilies) {
      what += (what.ends_with("of") ? " " : ", ") + std::string(family.name);
    }
    return unsupported("general.architecture", what);
  }
  const bool experts = file.integer("llama.expert_count").value_or(0) > 0;
  return found->name == "llama" && experts ? &kMixtral : found;
}

Result<Json> gguf_config(const GgufFile& file, const GgufFamily& family) {
  Reader reader(file, family.name);
  Json config = {{"architectures", {family.architecture}}, {"model_type", family.model_type}};
  add_sizes(file, reader, config);
  add_rope(file, reader, config);
  add_family(file, reader, family, config);
  add_tokens(file, config);
  if (reader.error()) return *reader.error();
  return {boost::system::in_place_value, std::move(config)};
}

}  // namespace tessera
