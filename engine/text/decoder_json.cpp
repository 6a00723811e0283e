// decoder_json.cpp — reads a Decoder.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/decoder.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kStripMax = 1024;  // characters that a Strip may cut off

}  // namespace

Result<Decoder> Decoder::from_json(const Json& node, const std::string& path) {
  Decoder decoder;
  if (node.is_null()) {
    decoder.steps_.emplace_back(JoinWithSpaces{});
    return decoder;
  }
  if (auto added = decoder.add(node, path); !added) return added.error();
  double growth = 1;
  for (const Step& step : decoder.steps_) {
    if (const auto* replacement = std::get_if<Replacement>(&step)) growth *= replacement->growth();
  }
  if (decoder.steps_.size() > kStepsMax || growth > kGrowthMax) {
    return unsupported_field(path, "rewrites too much");
  }
  return decoder;
}

Result<void> Decoder::add(const Json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "Sequence") return add_sequence(node, path);
  if (fused_ && *type != "Strip" && *type != "Fuse") {
    return unsupported_field(path, "stands behind a step that joins all tokens");
  }
  if (*type == "Strip") return add_strip(node, path);
  if (*type == "Metaspace") return add_metaspace(node, path);
  if (*type == "WordPiece") return add_word_piece(node, path);
  if (*type == "Replace") {
    auto replacement = read_replacement(node, path);
    if (!replacement) return replacement.error();
    steps_.emplace_back(std::move(*replacement));
    return only_fields(node, path, {"type", "pattern", "content"});
  }
  if (*type == "BPEDecoder") {
    auto suffix = string_field(node, path, "suffix");
    if (!suffix) return suffix.error();
    if (suffix->empty()) return unsupported_field(field_path(path, "suffix"), "must not be empty");
    steps_.emplace_back(Bpe{std::move(*suffix)});
    return only_fields(node, path, {"type", "suffix"});
  }
  if (*type == "ByteFallback") {
    steps_.emplace_back(ByteFallback{});
    return only_fields(node, path, {"type"});
  }
  if (*type == "Fuse" || *type == "ByteLevel") {
    fused_ = true;
    if (*type == "Fuse") {
      steps_.emplace_back(Fuse{});
    } else {
      steps_.emplace_back(ByteLevel{});
    }
    // Of ByteLevel's fields none concerns decoding.
    return only_fields(node, path, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }
  return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
}

Result<void> Decoder::add_sequence(const Json& node, const std::string& path) {
  const std::string parts_path = field_path(path, "decoders");
  const Json* parts = find_field(node, "decoders");
  if (!parts || !parts->is_array()) return unsupported_field(parts_path, "must be a list");
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if (auto added = add((*parts)[i], item_path(parts_path, i)); !added) return added;
  }
  return only_fields(node, path, {"type", "decoders"});
}

Result<void> Decoder::add_strip(const Json& node, const std::string& path) {
  auto content = string_field(node, path, "content");
  if (!content) return content.error();
  if (content->empty() || utf8_step(*content).bytes != content->size()) {
    return unsupported_field(field_path(path, "content"), "must be one character");
  }
  Strip strip{std::move(*content), 0, 0, fused_};
  const std::pair<const char*, std::size_t*> ends[] = {{"start", &strip.start},
                                                       {"stop", &strip.stop}};
  for (const auto& [name, value] : ends) {
    const Json* count = find_field(node, name);
    if (!count || !count->is_number_integer() || *count < 0 || *count > kStripMax) {
      return unsupported_field(field_path(path, name), "must be a number of characters");
    }
    *value = count->get<std::size_t>();
  }
  steps_.emplace_back(std::move(strip));
  return only_fields(node, path, {"type", "content", "start", "stop"});
}

Result<void> Decoder::add_metaspace(const Json& node, const std::string& path) {
  auto replacement = string_field(node, path, "replacement");
  if (!replacement) return replacement.error();
  if (replacement->empty() || utf8_step(*replacement).bytes != replacement->size()) {
    return unsupported_field(field_path(path, "replacement"), "must be one character");
  }
  auto add_prefix = bool_field(node, path, "add_prefix_space", true);
  if (!add_prefix) return add_prefix.error();
  bool drop = *add_prefix;
  if (find_field(node, "prepend_scheme")) {
    auto scheme = string_field(node, path, "prepend_scheme");
    if (!scheme) return scheme.error();
    if (*scheme != "always" && *scheme != "first" && *scheme != "never") {
      return unsupported_field(field_path(path, "prepend_scheme"),
                               "\"" + *scheme + "\" is not supported");
    }
    drop = *scheme != "never";
  }
  steps_.emplace_back(Metaspace{std::move(*replacement), drop});
  return only_fields(
      node, path,
      {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
}

Result<void> Decoder::add_word_piece(const Json& node, const std::string& path) {
  auto prefix = string_field(node, path, "prefix");
  if (!prefix) return prefix.error();
  auto cleanup = bool_field(node, path, "cleanup", true);
  if (!cleanup) return cleanup.error();
  steps_.emplace_back(WordPiece{std::move(*prefix), *cleanup});
  return only_fields(node, path, {"type", "prefix", "cleanup"});
}

}  // namespace tessera
