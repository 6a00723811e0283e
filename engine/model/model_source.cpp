#include "engine/model/model_source.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "engine/model/gguf_model.hpp"
#include "engine/model/model_config.hpp"
#include "engine/model/raw_tensors.hpp"
#include "engine/model/safetensors_source.hpp"
#include "engine/text/chat_template.hpp"
#include "engine/text/tokenizer.hpp"
#include "storage/durable_file.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::size_t kTextBytesMax = std::size_t{256} << 20;
constexpr JsonLimits kIndexLimits{.max_bytes = std::size_t{64} << 20};

// A file's text, or nothing if there is no such file.
Result<std::string> read_optional(const fs::path& path) {
  auto text = read_file(path, kTextBytesMax);
  if (!text && text.error().code == Code::kNotFound) return std::string();
  return text;
}

// "bos_token": a string, or an object with the string as its "content".
std::string token_text(const Json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() ? found->value("content", "") : std::string();
}

// "chat_template": a string, or a list of named ones, of which we want the default.
std::string template_text(const Json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return {};
  for (const Json& item : *found) {
    if (item.is_object() && item.value("name", "") == "default") return item.value("template", "");
  }
  return {};
}

Result<void> read_tokenizer_config(ModelInfo& info) {
  if (info.tokenizer_config.empty()) return {};
  auto config = parse_json(info.tokenizer_config);
  if (!config || !config->is_object()) {
    return Error{Code::kInvalidJson, "tokenizer_config.json is not a JSON object"};
  }
  try {
    info.bos_token = token_text(*config, "bos_token");
    info.eos_token = token_text(*config, "eos_token");
    if (info.chat_template.empty()) info.chat_template = template_text(*config);
  } catch (const nlohmann::json::exception&) {
    return Error{Code::kUnsupportedModel,
                 "tokenizer_config.json: a token or the chat template is not text"};
  }
  return {};
}

// The objects of config.json that describe how the checkpoint is quantised, newest name first; the
// model's shape is that of the rest.
constexpr const char* kQuantisationFields[] = {"quantization_config", "compression_config"};

// quantize_config.json, GPTQ's own, says no method.
Result<Json> read_quantize_config(const fs::path& directory) {
  auto text = read_optional(directory / "quantize_config.json");
  if (!text) return text.error();
  if (text->empty()) return {boost::system::in_place_value};
  auto config = parse_json(*text);
  if (!config || !config->is_object()) {
    return Error{Code::kInvalidJson, "quantize_config.json is not a JSON object"};
  }
  if (!config->contains("quant_method")) (*config)["quant_method"] = "gptq";
  return config;
}

// How the checkpoint is quantised, as JSON; null if it is not.
Result<Json> quantisation_of(const Json& config, const fs::path& directory) {
  for (const char* field : kQuantisationFields) {
    const auto found = config.find(field);
    if (found != config.end() && !found->is_null()) {
      return {boost::system::in_place_value, *found};
    }
  }
  return read_quantize_config(directory);
}

// Names stand in messages, which are lines.
Result<void> check_names(const std::vector<StoredTensor>& tensors) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  for (const StoredTensor& tensor : tensors) {
    if (std::ranges::any_of(tensor.name, is_control)) {
      return Error{Code::kCorrupt, "a tensor's name has control characters"};
    }
  }
  return {};
}

Result<void> add_shard(const fs::path& path, std::span<const std::byte> bytes, RawTensors& raw) {
  auto parsed = parse_safetensors(bytes, {.max_header_bytes = std::size_t{100} << 20});
  if (!parsed) return Error{Code::kCorrupt, path.string() + ": " + parsed.error().message};
  if (auto checked = check_names(parsed->tensors); !checked) {
    return Error{Code::kCorrupt, path.string() + ": " + checked.error().message};
  }
  for (StoredTensor& tensor : parsed->tensors) {
    const std::string name = tensor.name;
    if (!raw.emplace(name, std::move(tensor)).second) {
      return Error{Code::kCorrupt, path.string() + ": " + name + " is in another shard too"};
    }
  }
  return {};
}

// The shards that an index names, or the one file of a model that has no index.
Result<std::vector<std::string>> shard_names(const fs::path& directory) {
  const fs::path index_path = directory / "model.safetensors.index.json";
  if (!fs::exists(index_path)) return std::vector<std::string>{"model.safetensors"};
  auto text = read_file(index_path, kTextBytesMax);
  if (!text) return text.error();
  auto index = parse_json(*text, kIndexLimits);
  if (!index || !index->is_object() || !index->contains("weight_map")) {
    return Error{Code::kCorrupt, index_path.string() + " has no weight_map"};
  }
  std::set<std::string> shards;
  for (const auto& [tensor_name, shard] : (*index)["weight_map"].items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : std::string();
    if (name.empty() || fs::path(name).filename() != fs::path(name)) {
      return Error{Code::kCorrupt, index_path.string() + ": a tensor's entry names no file"};
    }
    shards.insert(name);
  }
  return std::vector<std::string>(shards.begin(), shards.end());
}

// llama.cpp keeps Llama 3's stretched wavelengths as factors beside the plain frequencies.
Result<void> apply_rope_factors(const std::vector<float>& factors, ModelSpec& spec) {
  if (factors.empty()) return {};
  for (RopeSpec& rope : spec.ropes) {
    const bool positive = std::ranges::all_of(factors, [](float factor) { return factor > 0.0F; });
    if (factors.size() != rope.inv_freq.size() || !positive) {
      return Error{Code::kCorrupt, "tensor rope_freqs.weight does not fit the heads"};
    }
    for (std::size_t i = 0; i < factors.size(); ++i) rope.inv_freq[i] /= factors[i];
  }
  return {};
}

Error named(const fs::path& path, const Error& error) {
  return {error.code, path.string() + ": " + error.message, error.param};
}

}  // namespace

Result<ModelSource> ModelSource::open(const fs::path& path) {
  ModelSource source;
  std::error_code ignored;
  const bool is_file = fs::is_regular_file(path, ignored);
  auto opened = is_file ? source.open_gguf(path) : source.open_directory(path);
  if (!opened) return opened.error();
  return source;
}

Result<void> ModelSource::open_directory(const fs::path& directory) {
  auto read = read_texts(directory);
  if (read) read = check_texts();
  if (read) read = read_weights(directory);
  return read;
}

Result<void> ModelSource::open_gguf(const fs::path& path) {
  auto file = map_file(path);
  if (!file) return file.error();
  auto parsed = parse_gguf((*file)->bytes());
  if (!parsed) return named(path, parsed.error());
  auto model = read_gguf_model(*parsed);
  if (!model) return named(path, model.error());
  info_ = std::move(model->info);
  info_.source_format = "gguf";
  tensors_ = std::move(model->tensors);
  norms_are_whole_ = model->norms_are_whole;
  auto read = read_spec(info_.config);
  if (read) read = apply_rope_factors(model->rope_factors, spec_);
  if (read) read = read_tokenizer_config(info_);
  if (read) read = check_texts();
  if (!read) return named(path, read.error());
  return {};
}

// What would otherwise come to light only when the model is served.
Result<void> ModelSource::check_texts() const {
  if (!info_.tokenizer.empty()) {
    auto tokenizer = Tokenizer::from_json(info_.tokenizer);
    if (!tokenizer) return tokenizer.error();
    if ((*tokenizer)->vocab_size() > spec_.vocab_size) {
      return Error{Code::kUnsupportedModel,
                   "tokenizer.json has more tokens than config.json's vocab_size"};
    }
  }
  if (!info_.chat_template.empty()) {
    auto parsed = ChatTemplate::parse(info_.chat_template);
    if (!parsed) return parsed.error();
  }
  return {};
}

Result<void> ModelSource::read_texts(const fs::path& directory) {
  auto config = read_file(directory / "config.json", kTextBytesMax);
  if (!config) return config.error();
  info_.config = std::move(*config);
  const std::pair<const char*, std::string*> optional_files[] = {
      {"generation_config.json", &info_.generation_config},
      {"tokenizer.json", &info_.tokenizer},
      {"tokenizer_config.json", &info_.tokenizer_config},
      {"chat_template.jinja", &info_.chat_template}};
  for (const auto& [name, text] : optional_files) {
    auto read = read_optional(directory / name);
    if (!read) return read.error();
    *text = std::move(*read);
  }
  if (auto read = read_spec(info_.config); !read) return read;
  return read_tokenizer_config(info_);
}

// The shape, from config.json less what it says about quantisation.
Result<void> ModelSource::read_spec(std::string_view text) {
  auto config = parse_json(text);
  if (!config) return Error{config.error().code, "config.json: " + config.error().message};
  if (config->is_object()) {
    for (const char* field : kQuantisationFields) config->erase(field);
  }
  const std::string plain = to_text(*config);
  auto spec = parse_model_config(plain);
  if (!spec) return spec.error();
  spec_ = std::move(*spec);
  auto architecture = parse_architecture(plain);
  if (!architecture) return architecture.error();
  info_.architecture = std::move(*architecture);
  auto eos_ids = parse_eos_ids(plain, info_.generation_config, spec_.vocab_size);
  if (!eos_ids) return eos_ids.error();
  info_.eos_ids = std::move(*eos_ids);
  return {};
}

Result<void> ModelSource::read_weights(const fs::path& directory) {
  auto quantisation = quantisation_of(parse_json(info_.config).value(), directory);
  if (!quantisation) return quantisation.error();
  CheckpointForm form;
  if (!quantisation->is_null()) {
    auto parsed = parse_checkpoint_form(*quantisation);
    if (!parsed) return parsed.error();
    form = std::move(*parsed);
  }
  info_.source_format = form.name;
  auto shards = shard_names(directory);
  if (!shards) return shards.error();
  RawTensors raw;
  for (const std::string& shard : *shards) {
    auto file = map_file(directory / shard);
    if (!file) return file.error();
    if (auto added = add_shard(directory / shard, (*file)->bytes(), raw); !added) return added;
  }
  auto sources = make_safetensors_sources(raw, form);
  if (!sources) return sources.error();
  tensors_ = std::move(*sources);
  return {};
}

Result<const MappedFile*> ModelSource::map_file(const fs::path& path) {
  auto file = MappedFile::open(path);
  if (!file) return file.error();
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return Error{Code::kIo, "cannot read " + path.string()};
  fingerprint_ += fs::absolute(path).string() + ' ' + std::to_string(status.st_size) + ' ' +
                  std::to_string(status.st_mtim.tv_sec) + '.' +
                  std::to_string(status.st_mtim.tv_nsec) + '\n';
  weight_bytes_ += file->bytes().size();
  files_.push_back(std::move(*file));
  return &files_.back();
}

const TensorSource* ModelSource::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second.get();
}

void ModelSource::release(const TensorSource& tensor) const {
  // Any mapping can let go of any pages.
  for (const auto part : tensor.stored()) files_.front().release(part);
}

}  // namespace tessera
