#include "engine/text/post_processor.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"
#include "engine/text/vocabulary_json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

bool is_id(const Json& id) {
  return id.is_number_integer() && id >= 0 && id < kVocabMax;
}

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
    if (!is_id(id)) return unsupported_field(path, "has an id that is none");
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

// "cls" and "sep": a token and its id, which stand before and after the text.
Result<void> add_frame(const Json& node, const std::string& path, PostProcessor& processor) {
  if (!processor.prefix.empty() || !processor.suffix.empty()) {
    return unsupported_field(path, "is a second template");
  }
  const std::pair<const char*, std::vector<TokenId>*> ends[] = {{"cls", &processor.prefix},
                                                                {"sep", &processor.suffix}};
  for (const auto& [name, out] : ends) {
    const Json* pair = find_field(node, name);
    if (!pair || !pair->is_array() || pair->size() != 2 || !is_id((*pair)[1])) {
      return unsupported_field(field_path(path, name), "must be a token and its id");
    }
    out->push_back((*pair)[1].get<TokenId>());
  }
  // trim_offsets and add_prefix_space concern offsets into the text, which we do not report.
  return only_fields(node, path, {"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
}

Result<void> add(const Json& node, const std::string& path, PostProcessor& processor) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "BertProcessing" || *type == "RobertaProcessing") {
    return add_frame(node, path, processor);
  }
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
