#include "engine/text/post_processor.hpp"

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Appends the ids of special token `name`, which template item `path` uses.
Result<void> append_special(const Json& template_node, const std::string& name,
                            const std::string& path, std::vector<TokenId>& out) {
  const Json* specials = find_field(template_node, "special_tokens");
  const Json* special = specials && specials->is_object() ? find_field(*specials, name) : nullptr;
  const Json* ids = special && special->is_object() ? find_field(*special, "ids") : nullptr;
  if (!ids || !ids->is_array()) {
    return unsupported_field(path, "names \"" + name + "\", which special_tokens does not define");
  }
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id < 0) return unsupported_field(path, "has an id below zero");
    out.push_back(id.get<TokenId>());
  }
  return {};
}

// "single": the template for one text, special tokens around one {"Sequence": {"id": "A"}}.
Result<void> add_template(const Json& node, const std::string& path, PostProcessor& processor) {
  const std::string single_path = field_path(path, "single");
  const Json* single = find_field(node, "single");
  if (!single || !single->is_array()) return unsupported_field(single_path, "must be a list");
  if (!processor.prefix.empty() || !processor.suffix.empty()) {
    return unsupported_field(path, "is a second template");
  }
  bool after_text = false;
  for (std::size_t i = 0; i < single->size(); ++i) {
    const Json& item = (*single)[i];
    const std::string item_name = item_path(single_path, i);
    if (!item.is_object() || item.size() != 1 || !item.front().is_object()) {
      return unsupported_field(item_name, "must be a SpecialToken or a Sequence");
    }
    auto id = string_field(item.front(), item_name, "id");
    if (!id) return id.error();
    if (item.contains("SpecialToken")) {
      auto& out = after_text ? processor.suffix : processor.prefix;
      if (auto added = append_special(node, *id, item_name, out); !added) return added;
    } else if (item.contains("Sequence") && *id == "A" && !after_text) {
      after_text = true;
    } else {
      return unsupported_field(item_name, "must be a SpecialToken or the one Sequence A");
    }
  }
  if (!after_text) return unsupported_field(single_path, "has no Sequence A");
  return only_fields(node, path, {"type", "single", "pair", "special_tokens"});
}

Result<void> add(const Json& node, const std::string& path, PostProcessor& processor) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "ByteLevel") return {};
  if (*type == "TemplateProcessing") return add_template(node, path, processor);
  const Json* parts = find_field(node, "processors");
  if (*type != "Sequence" || !parts || !parts->is_array()) {
    return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
  }
  for (std::size_t i = 0; i < parts->size(); ++i) {
    auto added = add((*parts)[i], item_path(field_path(path, "processors"), i), processor);
    if (!added) return added;
  }
  return only_fields(node, path, {"type", "processors"});
}

}  // namespace

Result<PostProcessor> PostProcessor::from_json(const Json& node, const std::string& path) {
  PostProcessor processor;
  if (node.is_null()) return processor;
  if (auto added = add(node, path, processor); !added) return added.error();
  return processor;
}

}  // namespace tessera
