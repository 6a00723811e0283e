#include "engine/text/pre_tokenizer.hpp"

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"
#include "engine/text/unicode_tables.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// What ByteLevel cuts by when use_regex is on (GPT-2's pattern).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The words that Whitespace keeps; its \w has the joiners and not Latin-1's numerals.
constexpr std::string_view kWordPattern =
    R"([[\w\x{200c}\x{200d}]&&[^\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]]+)"
    R"(|[^[[\w\x{200c}\x{200d}]&&[^\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]]\s]+)";

// The one character of the string field `name`.
Result<std::string> character_field(const Json& node, const std::string& path, const char* name) {
  auto text = string_field(node, path, name);
  if (!text) return text.error();
  if (text->empty() || utf8_step(*text).bytes != text->size()) {
    return unsupported_field(field_path(path, name), "must be one character");
  }
  return text;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::from_json(const Json& node, const std::string& path) {
  PreTokenizer pre_tokenizer;
  if (node.is_null()) return pre_tokenizer;
  if (auto added = pre_tokenizer.add(node, path); !added) return added.error();
  return pre_tokenizer;
}

Result<void> PreTokenizer::add(const Json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (steps_.size() >= kStepsMax) return unsupported_field(path, "is a step too many");
  if (*type == "Sequence") return add_sequence(node, path);
  if (*type == "Split") return add_split(node, path);
  if (*type == "Digits") return add_digits(node, path);
  if (*type == "Punctuation") return add_punctuation(node, path);
  if (*type == "Whitespace" || *type == "WhitespaceSplit") return add_whitespace(node, path);
  if (*type == "BertPreTokenizer") return add_bert(node, path);
  if (*type == "CharDelimiterSplit") return add_delimiter(node, path);
  const bool rewrites = *type == "ByteLevel" || *type == "Metaspace";
  if (rewrites && byte_level_) return unsupported_field(path, "stands after ByteLevel");
  if (*type == "ByteLevel") return add_byte_level(node, path);
  if (*type == "Metaspace") return add_metaspace(node, path);
  return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
}

Result<void> PreTokenizer::add_sequence(const Json& node, const std::string& path) {
  const std::string parts_path = field_path(path, "pretokenizers");
  const Json* parts = find_field(node, "pretokenizers");
  if (!parts || !parts->is_array()) return unsupported_field(parts_path, "must be a list");
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if (auto added = add((*parts)[i], item_path(parts_path, i)); !added) return added;
  }
  return only_fields(node, path, {"type", "pretokenizers"});
}

Result<void> PreTokenizer::add_split(const Json& node, const std::string& path) {
  auto pattern = read_pattern(node, path);
  if (!pattern) return pattern.error();
  auto behavior = read_behavior(node, path);
  if (!behavior) return behavior.error();
  auto invert = bool_field(node, path, "invert", false);
  if (!invert) return invert.error();
  Split split{std::move(pattern->literal), *behavior, *invert, byte_level_};
  if (pattern->regex) split.pattern = std::move(pattern->regex);
  steps_.emplace_back(std::move(split));
  return only_fields(node, path, {"type", "pattern", "behavior", "invert"});
}

Result<void> PreTokenizer::add_digits(const Json& node, const std::string& path) {
  auto individual = bool_field(node, path, "individual_digits", false);
  if (!individual) return individual.error();
  add_set(unicode_set(UnicodeTable::kNumeric),
          *individual ? Behavior::kIsolated : Behavior::kContiguous);
  return only_fields(node, path, {"type", "individual_digits"});
}

Result<void> PreTokenizer::add_punctuation(const Json& node, const std::string& path) {
  Behavior behavior = Behavior::kIsolated;
  if (find_field(node, "behavior")) {
    auto read = read_behavior(node, path);
    if (!read) return read.error();
    behavior = *read;
  }
  add_set(unicode_set(UnicodeTable::kPunctuation), behavior);
  return only_fields(node, path, {"type", "behavior"});
}

Result<void> PreTokenizer::add_whitespace(const Json& node, const std::string& path) {
  if (node["type"] == "WhitespaceSplit") {
    add_set(unicode_set(UnicodeTable::kSpace), Behavior::kRemoved);
  } else if (auto added = add_regex(kWordPattern, Behavior::kRemoved, true, path); !added) {
    return added;
  }
  return only_fields(node, path, {"type"});
}

Result<void> PreTokenizer::add_bert(const Json& node, const std::string& path) {
  add_set(unicode_set(UnicodeTable::kSpace), Behavior::kRemoved);
  add_set(unicode_set(UnicodeTable::kPunctuation), Behavior::kIsolated);
  return only_fields(node, path, {"type"});
}

Result<void> PreTokenizer::add_delimiter(const Json& node, const std::string& path) {
  auto delimiter = character_field(node, path, "delimiter");
  if (!delimiter) return delimiter.error();
  steps_.emplace_back(Split{std::move(*delimiter), Behavior::kRemoved, false, byte_level_});
  return only_fields(node, path, {"type", "delimiter"});
}

Result<void> PreTokenizer::add_byte_level(const Json& node, const std::string& path) {
  auto prefix_space = bool_field(node, path, "add_prefix_space", true);
  if (!prefix_space) return prefix_space.error();
  auto use_regex = bool_field(node, path, "use_regex", true);
  if (!use_regex) return use_regex.error();
  if (*prefix_space) steps_.emplace_back(PrefixSpace{});
  if (*use_regex) {
    auto added = add_regex(kGpt2Pattern, Behavior::kIsolated, false, path);
    if (!added) return added;
  }
  byte_level_ = true;
  // trim_offsets concerns offsets into the text, which we do not report.
  return only_fields(node, path, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
}

Result<void> PreTokenizer::add_metaspace(const Json& node, const std::string& path) {
  auto replacement = character_field(node, path, "replacement");
  if (!replacement) return replacement.error();
  auto prefix = read_prefix(node, path);
  if (!prefix) return prefix.error();
  auto split = bool_field(node, path, "split", true);
  if (!split) return split.error();
  steps_.emplace_back(Metaspace{*replacement, *prefix});
  if (*split) steps_.emplace_back(Split{*replacement, Behavior::kMergedWithNext, false, false});
  return only_fields(
      node, path,
      {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
}

// "prepend_scheme", or "add_prefix_space" in older files.
Result<PreTokenizer::Metaspace::Prefix> PreTokenizer::read_prefix(const Json& node,
                                                                  const std::string& path) {
  auto add = bool_field(node, path, "add_prefix_space", true);
  if (!add) return add.error();
  if (!find_field(node, "prepend_scheme")) {
    return *add ? Metaspace::Prefix::kAlways : Metaspace::Prefix::kNever;
  }
  auto scheme = string_field(node, path, "prepend_scheme");
  if (!scheme) return scheme.error();
  if (*scheme == "never") return Metaspace::Prefix::kNever;
  const bool known = *scheme == "always" || *scheme == "first";
  if (!known || !*add) {
    return unsupported_field(
        field_path(path, "prepend_scheme"),
        known ? "contradicts add_prefix_space" : "\"" + *scheme + "\" is not supported");
  }
  return *scheme == "always" ? Metaspace::Prefix::kAlways : Metaspace::Prefix::kFirst;
}

Result<void> PreTokenizer::add_regex(std::string_view pattern, Behavior behavior, bool invert,
                                     const std::string& path) {
  auto regex = Regex::compile(pattern);
  if (!regex) return unsupported_field(path, regex.error().message);
  steps_.emplace_back(
      Split{std::make_shared<const Regex>(std::move(*regex)), behavior, invert, byte_level_});
  return {};
}

void PreTokenizer::add_set(const CodePointSet& set, Behavior behavior) {
  steps_.emplace_back(
      Split{std::make_shared<const CodePointSet>(set), behavior, false, byte_level_});
}

Result<PreTokenizer::Behavior> PreTokenizer::read_behavior(const Json& node,
                                                           const std::string& path) {
  static constexpr std::array<std::pair<std::string_view, Behavior>, 5> kBehaviors = {
      {{"Isolated", Behavior::kIsolated},
       {"Removed", Behavior::kRemoved},
       {"Contiguous", Behavior::kContiguous},
       {"MergedWithPrevious", Behavior::kMergedWithPrevious},
       {"MergedWithNext", Behavior::kMergedWithNext}}};
  auto text = string_field(node, path, "behavior");
  if (!text) return text.error();
  for (const auto& [name, behavior] : kBehaviors) {
    if (*text == name) return behavior;
  }
  return unsupported_field(field_path(path, "behavior"), "\"" + *text + "\" is not supported");
}

}  // namespace tessera
