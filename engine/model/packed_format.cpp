#include "engine/model/packed_format.hpp"

#include <stdexcept>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera::packed {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonLimits kHeaderLimits{
    .max_bytes = std::size_t{512} << 20, .max_depth = 8, .max_values = 1'000'000};

std::size_t count(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

void add_matrix(const std::string& name, LinearShape shape, std::vector<Section>& out) {
  const std::size_t weights = count(shape.out_features, shape.in_features);
  const std::size_t blocks = weights / kNf4Block;
  out.push_back({name + ".codes", weights / 2});
  out.push_back({name + ".absmax_codes", blocks});
  out.push_back(
      {name + ".absmax_scales", (blocks + kAbsmaxBlock - 1) / kAbsmaxBlock * sizeof(float)});
  out.push_back({name + ".absmax_offset", sizeof(float)});
}

Json layer_json(const LayerSpec& layer) {
  return {{"rms_eps", layer.rms_eps},
          {"rope_theta", layer.rope_theta},
          {"attention_scale", layer.attention_scale},
          {"qkv_bias", layer.qkv_bias}};
}

Json spec_json(const ModelSpec& spec) {
  Json layers = Json::array();
  for (const LayerSpec& layer : spec.layers) layers.push_back(layer_json(layer));
  return {{"vocab_size", spec.vocab_size},       {"hidden", spec.hidden},
          {"intermediate", spec.intermediate},   {"num_heads", spec.num_heads},
          {"num_kv_heads", spec.num_kv_heads},   {"head_dim", spec.head_dim},
          {"max_positions", spec.max_positions}, {"tied_embeddings", spec.tied_embeddings},
          {"final_rms_eps", spec.final_rms_eps}, {"activation", "silu"},
          {"layers", std::move(layers)}};
}

Json info_json(const ModelInfo& info) {
  return {{"name", info.name},
          {"config", info.config},
          {"generation_config", info.generation_config},
          {"tokenizer", info.tokenizer},
          {"tokenizer_config", info.tokenizer_config},
          {"chat_template", info.chat_template},
          {"bos_token", info.bos_token},
          {"eos_token", info.eos_token},
          {"eos_ids", info.eos_ids}};
}

// The readers below use nlohmann's checked access, which throws on a missing member or a wrong
// type; parse_header turns that into kCorrupt.
ModelSpec read_spec(const Json& node) {
  ModelSpec spec;
  spec.vocab_size = node.at("vocab_size").get<int>();
  spec.hidden = node.at("hidden").get<int>();
  spec.intermediate = node.at("intermediate").get<int>();
  spec.num_heads = node.at("num_heads").get<int>();
  spec.num_kv_heads = node.at("num_kv_heads").get<int>();
  spec.head_dim = node.at("head_dim").get<int>();
  spec.max_positions = node.at("max_positions").get<int>();
  spec.tied_embeddings = node.at("tied_embeddings").get<bool>();
  spec.final_rms_eps = node.at("final_rms_eps").get<float>();
  for (const Json& layer : node.at("layers")) {
    spec.layers.push_back({.rms_eps = layer.at("rms_eps").get<float>(),
                           .rope_theta = layer.at("rope_theta").get<float>(),
                           .attention_scale = layer.at("attention_scale").get<float>(),
                           .qkv_bias = layer.at("qkv_bias").get<bool>()});
  }
  return spec;
}

ModelInfo read_info(const Json& node) {
  const auto text = [&node](const char* name) { return node.at(name).get<std::string>(); };
  return {.name = text("name"),
          .config = text("config"),
          .generation_config = text("generation_config"),
          .tokenizer = text("tokenizer"),
          .tokenizer_config = text("tokenizer_config"),
          .chat_template = text("chat_template"),
          .bos_token = text("bos_token"),
          .eos_token = text("eos_token"),
          .eos_ids = node.at("eos_ids").get<std::vector<TokenId>>()};
}

PlacedSection read_section(const Json& node) {
  const auto sha256 = digest_from_hex(node.at("sha256").get<std::string>());
  if (!sha256) throw std::invalid_argument("a section's sha256 is not a digest");
  return {.name = node.at("name").get<std::string>(),
          .bytes = node.at("bytes").get<std::size_t>(),
          .offset = node.at("offset").get<std::size_t>(),
          .sha256 = *sha256};
}

}  // namespace

bool has_bias(const LayerSpec& layer, Linear linear) {
  return layer.qkv_bias && (linear == Linear::kQ || linear == Linear::kK || linear == Linear::kV);
}

std::string layer_name(int layer, std::string_view part) {
  return "layers." + std::to_string(layer) + '.' + std::string(part);
}

std::vector<Section> sections_of(const ModelSpec& spec) {
  const std::size_t embedding_bytes = count(spec.vocab_size, spec.hidden) * sizeof(Bf16);
  const std::size_t norm_bytes = static_cast<std::size_t>(spec.hidden) * sizeof(float);
  std::vector<Section> out = {{"embedding", embedding_bytes}};
  for (int i = 0; i < spec.num_layers(); ++i) {
    out.push_back({layer_name(i, "attention_norm"), norm_bytes});
    out.push_back({layer_name(i, "mlp_norm"), norm_bytes});
    for (const Linear linear : kAllLinears) {
      const LinearShape shape = spec.shape(linear);
      const std::string name = layer_name(i, linear_name(linear));
      add_matrix(name, shape, out);
      if (has_bias(spec.layers[static_cast<std::size_t>(i)], linear)) {
        out.push_back(
            {name + ".bias", static_cast<std::size_t>(shape.out_features) * sizeof(float)});
      }
    }
  }
  out.push_back({"final_norm", norm_bytes});
  if (!spec.tied_embeddings) out.push_back({"head", embedding_bytes});
  return out;
}

BaseDigest base_digest(const ModelSpec& spec, const std::vector<PlacedSection>& sections) {
  Sha256 sha256;
  sha256.update(to_text(spec_json(spec)));
  for (const PlacedSection& section : sections) {
    sha256.update('\n' + section.name + ' ' + to_hex(section.sha256));
  }
  return {sha256.finish()};
}

std::string header_text(const Header& header) {
  Json sections = Json::array();
  for (const PlacedSection& section : header.sections) {
    sections.push_back({{"name", section.name},
                        {"offset", section.offset},
                        {"bytes", section.bytes},
                        {"sha256", to_hex(section.sha256)}});
  }
  return to_text({{"spec", spec_json(header.spec)},
                  {"info", info_json(header.info)},
                  {"digest", to_hex(header.digest)},
                  {"sections", std::move(sections)}});
}

Result<Header> parse_header(std::string_view text) {
  auto parsed = parse_json(text, kHeaderLimits);
  if (!parsed) return Error{Code::kCorrupt, "its header is damaged: " + parsed.error().message};
  try {
    Header header;
    header.spec = read_spec(parsed->at("spec"));
    header.info = read_info(parsed->at("info"));
    const auto digest = digest_from_hex(parsed->at("digest").get<std::string>());
    if (!digest) return Error{Code::kCorrupt, "its digest is not one"};
    header.digest.bytes = *digest;
    for (const Json& section : parsed->at("sections")) {
      header.sections.push_back(read_section(section));
    }
    return header;
  } catch (const std::exception& failure) {
    return Error{Code::kCorrupt, std::string("its header is damaged: ") + failure.what()};
  }
}

}  // namespace tessera::packed
