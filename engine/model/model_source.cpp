#include "engine/model/model_source.hpp"

#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/tensor_values.hpp"
#include "engine/model/model_config.hpp"
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

// What would otherwise come to light only when the model is served.
Result<void> check_texts(const ModelInfo& info, const ModelSpec& spec) {
  if (!info.tokenizer.empty()) {
    auto tokenizer = Tokenizer::from_json(info.tokenizer);
    if (!tokenizer) return tokenizer.error();
    if ((*tokenizer)->vocab_size() > spec.vocab_size) {
      return Error{Code::kUnsupportedModel,
                   "tokenizer.json has more tokens than config.json's vocab_size"};
    }
  }
  if (!info.chat_template.empty()) {
    auto parsed = ChatTemplate::parse(info.chat_template);
    if (!parsed) return parsed.error();
  }
  return {};
}

}  // namespace

Result<ModelSource> ModelSource::open(const fs::path& directory) {
  ModelSource source;
  auto read = source.read_texts(directory);
  if (read) read = check_texts(source.info_, source.spec_);
  if (read) read = source.read_weights(directory);
  if (!read) return read.error();
  return source;
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
  auto spec = parse_model_config(info_.config);
  if (!spec) return spec.error();
  spec_ = std::move(*spec);
  auto eos_ids = parse_eos_ids(info_.config, info_.generation_config, spec_.vocab_size);
  if (!eos_ids) return eos_ids.error();
  info_.eos_ids = std::move(*eos_ids);
  return read_tokenizer_config(info_);
}

Result<void> ModelSource::read_weights(const fs::path& directory) {
  const fs::path index_path = directory / "model.safetensors.index.json";
  if (!fs::exists(index_path)) return add_shard(directory / "model.safetensors");
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
      return Error{Code::kCorrupt, index_path.string() + ": " + tensor_name + " names no file"};
    }
    shards.insert(name);
  }
  for (const std::string& shard : shards) {
    if (auto added = add_shard(directory / shard); !added) return added;
  }
  return {};
}

Result<void> ModelSource::add_shard(const fs::path& path) {
  auto file = MappedFile::open(path);
  if (!file) return file.error();
  auto parsed = parse_safetensors(file->bytes());
  if (!parsed) return Error{Code::kCorrupt, path.string() + ": " + parsed.error().message};
  for (StoredTensor& tensor : parsed->tensors) {
    const std::string name = tensor.name;
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      return Error{Code::kCorrupt, path.string() + ": " + name + " is in another shard too"};
    }
  }
  weight_bytes_ += file->bytes().size();
  shards_.push_back(std::move(*file));
  return {};
}

Result<const StoredTensor*> ModelSource::tensor(const std::string& name,
                                                const std::vector<std::int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return Error{Code::kCorrupt, "tensor " + name + " is missing"};
  const StoredTensor& tensor = found->second;
  if (tensor.shape != shape) {
    return Error{Code::kCorrupt, "tensor " + name + " has shape " + shape_text(tensor.shape) +
                                     ", and config.json asks for " + shape_text(shape)};
  }
  if (!is_adapter_dtype(tensor.dtype)) {
    return Error{Code::kUnsupportedModel, "tensor " + name + " is " +
                                              std::string(dtype_name(tensor.dtype)) +
                                              "; F32, F16 and BF16 are supported"};
  }
  return &tensor;
}

std::vector<std::string_view> ModelSource::tensor_names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, tensor] : tensors_) names.emplace_back(name);
  return names;
}

}  // namespace tessera
