#include "engine/model/gguf_model.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/model/gguf_blocks.hpp"
#include "engine/model/gguf_config.hpp"
#include "engine/text/gguf_vocabulary.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Part of a tensor's name in a GGUF file, and Hugging Face's.
using Renaming = std::pair<std::string_view, std::string_view>;

constexpr Renaming kOutside[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};

constexpr Renaming kInLayer[] = {{"attn_norm", "input_layernorm"},
                                 {"attn_q", "self_attn.q_proj"},
                                 {"attn_k", "self_attn.k_proj"},
                                 {"attn_v", "self_attn.v_proj"},
                                 {"attn_qkv", "self_attn.qkv_proj"},
                                 {"attn_output", "self_attn.o_proj"},
                                 {"attn_q_norm", "self_attn.q_norm"},
                                 {"attn_k_norm", "self_attn.k_norm"},
                                 {"post_attention_norm", "post_attention_layernorm"},
                                 {"post_ffw_norm", "post_feedforward_layernorm"},
                                 {"ffn_gate", "mlp.gate_proj"},
                                 {"ffn_up", "mlp.up_proj"},
                                 {"ffn_down", "mlp.down_proj"},
                                 {"ffn_gate_inp", "mlp.gate"},
                                 {"ffn_gate_exps", "gate_proj"},
                                 {"ffn_up_exps", "up_proj"},
                                 {"ffn_down_exps", "down_proj"}};

std::string_view renamed(std::span<const Renaming> table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Renaming::first);
  return found == table.end() ? std::string_view() : found->second;
}

// "blk.3.attn_q.weight" taken apart; layer -1: of no layer.
struct Name {
  int layer = -1;
  std::string_view part;  // "attn_q"
  std::string_view kind;  // "weight"
};

Name parse_name(std::string_view name) {
  Name parsed;
  constexpr std::string_view kBlock = "blk.";
  if (name.starts_with(kBlock)) {
    const std::string_view rest = name.substr(kBlock.size());
    const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), parsed.layer);
    if (number.ec != std::errc() || parsed.layer < 0)
      return {.layer = -1, .part = name, .kind = {}};
    name = rest.substr(static_cast<std::size_t>(number.ptr - rest.data()));
    if (name.starts_with('.')) name.remove_prefix(1);
  }
  const std::size_t dot = name.rfind('.');
  parsed.part = name.substr(0, dot);
  parsed.kind = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  return parsed;
}

// Files under the names of the architecture's family.
class TensorLister {
 public:
  TensorLister(const GgufFamily& family, std::int64_t head_dim, GgufModel& model)
      : family_(family), head_dim_(head_dim), model_(model) {}

  Result<void> add(const GgufTensor& tensor) {
    const Name name = parse_name(tensor.name);
    if (name.layer < 0) return add_outside(tensor, name);
    const std::string layer = "model.layers." + std::to_string(name.layer) + '.';
    if (name.part.ends_with("_exps")) return add_experts(tensor, name, layer);
    std::string_view part = renamed(kInLayer, name.part);
    if (name.part == "ffn_norm") {
      part = family_.post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    }
    if (name.part == "ffn_up" && family_.name == "phi3") part = "mlp.gate_up_proj";
    if (name.part == "attn_rot_embd") return {};            // a table of frequencies of old files
    if (part.empty()) return put(tensor.name, tensor, {});  // found out to have no place
    RowOrder order;
    if (family_.pairs_rows && (name.part == "attn_q" || name.part == "attn_k")) {
      order.head_dim = head_dim_;
      const std::int64_t rows = tensor.dims.back();
      if (head_dim_ < 2 || head_dim_ % 2 != 0 || rows % head_dim_ != 0) {
        return Error{Code::kCorrupt, "tensor " + tensor.name + " is of no whole number of heads"};
      }
    }
    return put(layer + std::string(part) + '.' + std::string(name.kind), tensor, order);
  }

 private:
  Result<void> add_outside(const GgufTensor& tensor, const Name& name) {
    if (tensor.name == "rope_freqs.weight") return read_rope_factors(tensor);
    if (tensor.name.starts_with("rope_factors_")) return {};  // gguf_config has read them
    const std::string_view part = renamed(kOutside, name.part);
    if (part.empty()) return put(tensor.name, tensor, {});
    return put(std::string(part) + '.' + std::string(name.kind), tensor, {});
  }

  Result<void> read_rope_factors(const GgufTensor& tensor) {
    if (tensor.type != GgmlType::kF32 || tensor.dims.size() != 1) {
      return Error{Code::kCorrupt, "tensor rope_freqs.weight is no list of F32"};
    }
    const auto source = make_gguf_source(tensor, {tensor.dims[0]}, 0, {});
    model_.rope_factors.resize(static_cast<std::size_t>(tensor.dims[0]));
    return source->read(0, model_.rope_factors);
  }

  // All experts' matrices in one tensor of three dimensions.
  Result<void> add_experts(const GgufTensor& tensor, const Name& name, const std::string& layer) {
    const std::string_view part = renamed(kInLayer, name.part);
    constexpr std::int64_t kExpertsMax = 1 << 16;
    if (tensor.dims.size() != 3 || part.empty() || tensor.dims[2] > kExpertsMax) {
      return Error{Code::kUnsupportedModel, "tensor " + tensor.name + " is not supported"};
    }
    const std::int64_t rows = tensor.dims[1];
    for (std::int64_t expert = 0; expert < tensor.dims[2]; ++expert) {
      const std::string full = layer + "mlp.experts." + std::to_string(expert) + '.' +
                               std::string(part) + '.' + std::string(name.kind);
      auto source = make_gguf_source(tensor, {rows, tensor.dims[0]}, expert * rows, {});
      if (auto added = put(full, std::move(source)); !added) return added;
    }
    return {};
  }

  Result<void> put(const std::string& name, const GgufTensor& tensor, RowOrder order) {
    std::vector<std::int64_t> shape(tensor.dims.rbegin(), tensor.dims.rend());
    return put(name, make_gguf_source(tensor, std::move(shape), 0, order));
  }

  Result<void> put(const std::string& name, TensorSourcePtr source) {
    if (model_.tensors.emplace(name, std::move(source)).second) return {};
    return Error{Code::kCorrupt, "two tensors are " + name};
  }

  const GgufFamily& family_;
  std::int64_t head_dim_;
  GgufModel& model_;
};

GgufVocabulary read_vocabulary(const GgufFile& file) {
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  const auto text = [&](const char* name) {
    const std::string* value = file.text(key(name));
    return value == nullptr ? std::string() : *value;
  };
  const auto integer = [&](const char* name) { return file.integer(key(name)); };
  const auto flag = [&](const char* name) { return file.flag(key(name)); };
  GgufVocabulary out;
  out.model = text("model");
  out.pre = text("pre");
  if (const auto* tokens = file.strings(key("tokens"))) out.tokens = *tokens;
  if (const auto* merges = file.strings(key("merges"))) out.merges = *merges;
  if (const auto* scores = file.numbers(key("scores"))) {
    for (const double score : *scores) out.scores.push_back(static_cast<float>(score));
  }
  if (const auto* types = file.numbers(key("token_type"))) {
    for (const double type : *types) {
      out.token_type.push_back(static_cast<std::int32_t>(std::clamp(type, 0.0, 255.0)));
    }
  }
  if (const auto* map = file.numbers(key("precompiled_charsmap"))) {
    for (const double byte : *map) {
      out.precompiled_charsmap.push_back(static_cast<std::uint8_t>(std::clamp(byte, 0.0, 255.0)));
    }
  }
  out.bos_token_id = integer("bos_token_id");
  out.eos_token_id = integer("eos_token_id");
  out.unknown_token_id = integer("unknown_token_id");
  out.separator_token_id = integer("seperator_token_id");  // as the format spells it
  if (!out.separator_token_id) out.separator_token_id = integer("separator_token_id");
  out.padding_token_id = integer("padding_token_id");
  out.cls_token_id = integer("cls_token_id");
  out.add_bos_token = flag("add_bos_token");
  out.add_eos_token = flag("add_eos_token");
  out.add_sep_token = flag("add_sep_token");
  out.add_space_prefix = flag("add_space_prefix");
  out.remove_extra_whitespaces = flag("remove_extra_whitespaces");
  return out;
}

// bos_token, eos_token and the chat template, as tokenizer_config.json has them.
std::string tokenizer_config(const GgufFile& file, const GgufVocabulary& vocabulary) {
  Json config = Json::object();
  const auto add = [&](const char* name, std::optional<std::int64_t> id) {
    if (id && *id >= 0 && std::cmp_less(*id, vocabulary.tokens.size())) {
      config[name] = vocabulary.tokens[static_cast<std::size_t>(*id)];
    }
  };
  add("bos_token", vocabulary.bos_token_id);
  add("eos_token", vocabulary.eos_token_id);
  if (const auto* source = file.text("tokenizer.chat_template")) config["chat_template"] = *source;
  return to_text(config);
}

Result<void> read_texts(const GgufFile& file, ModelInfo& info) {
  if (const std::string* name = file.text("general.name")) info.name = *name;
  const GgufVocabulary vocabulary = read_vocabulary(file);
  info.tokenizer_config = tokenizer_config(file, vocabulary);
  if (vocabulary.tokens.empty()) return {};
  auto tokenizer = to_tokenizer_json(vocabulary);
  if (!tokenizer) return tokenizer.error();
  info.tokenizer = to_text(*tokenizer);
  return {};
}

}  // namespace

Result<GgufModel> read_gguf_model(const GgufFile& file) {
  auto family = gguf_family(file);
  if (!family) return family.error();
  auto config = gguf_config(file, **family);
  if (!config) return config.error();
  GgufModel model;
  model.norms_are_whole = (*family)->norms_are_whole;
  TensorLister lister(**family, (*config)["head_dim"].get<std::int64_t>(), model);
  for (const GgufTensor& tensor : file.tensors) {
    if (auto added = lister.add(tensor); !added) return added.error();
  }
  if (auto read = read_texts(file, model.info); !read) return read.error();
  model.info.config = to_text(*config);
  return model;
}

}  // namespace tessera
