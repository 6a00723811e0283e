#include "engine/text/pre_tokenizer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {
namespace {

// What ByteLevel cuts by when use_regex is on (GPT-2's pattern).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Span {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

// Matches and what lies between them, in order, covering the text.
std::vector<Span> spans(const Regex& regex, std::string_view text, bool invert) {
  std::vector<Span> out;
  std::size_t at = 0;
  regex.for_each_match(text, [&](std::size_t begin, std::size_t end) {
    if (begin != at) out.push_back({at, begin, invert});
    out.push_back({begin, end, !invert});
    at = end;
  });
  if (at != text.size()) out.push_back({at, text.size(), invert});
  return out;
}

// Runs of matches, and of what is none, become one.
std::vector<Span> contiguous(const std::vector<Span>& in) {
  std::vector<Span> out;
  for (const Span& span : in) {
    if (!out.empty() && out.back().is_match == span.is_match) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
  }
  return out;
}

// A match joins the piece before it, unless that is a match too.
std::vector<Span> merged_with_previous(const std::vector<Span>& in) {
  std::vector<Span> out;
  bool after_match = false;
  for (const Span& span : in) {
    if (span.is_match && !after_match && !out.empty()) {
      out.back().end = span.end;
    } else {
      out.push_back(span);
    }
    after_match = span.is_match;
  }
  return out;
}

// The mirror image.
std::vector<Span> merged_with_next(const std::vector<Span>& in) {
  std::vector<Span> out;
  bool before_match = false;
  for (auto span = in.rbegin(); span != in.rend(); ++span) {
    if (span->is_match && !before_match && !out.empty()) {
      out.back().begin = span->begin;
    } else {
      out.push_back(*span);
    }
    before_match = span->is_match;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::from_json(const nlohmann::ordered_json& node,
                                             const std::string& path) {
  PreTokenizer pre_tokenizer;
  if (auto added = pre_tokenizer.add(node, path); !added) return added.error();
  if (!pre_tokenizer.byte_level_) return unsupported_field(path, "has no ByteLevel step");
  return pre_tokenizer;
}

Result<void> PreTokenizer::add(const nlohmann::ordered_json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (byte_level_) return unsupported_field(path, "stands after ByteLevel");
  if (*type == "Sequence") return add_sequence(node, path);
  if (*type == "Split") return add_split(node, path);
  if (*type == "Digits") return add_digits(node, path);
  if (*type == "Punctuation") return add_punctuation(node, path);
  if (*type == "ByteLevel") return add_byte_level(node, path);
  return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
}

Result<void> PreTokenizer::add_sequence(const nlohmann::ordered_json& node,
                                        const std::string& path) {
  const std::string parts_path = field_path(path, "pretokenizers");
  const nlohmann::ordered_json* parts = find_field(node, "pretokenizers");
  if (!parts || !parts->is_array()) return unsupported_field(parts_path, "must be a list");
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if (auto added = add((*parts)[i], item_path(parts_path, i)); !added) return added;
  }
  return only_fields(node, path, {"type", "pretokenizers"});
}

Result<void> PreTokenizer::add_split(const nlohmann::ordered_json& node, const std::string& path) {
  const std::string pattern_path = field_path(path, "pattern");
  const nlohmann::ordered_json* pattern = find_field(node, "pattern");
  if (!pattern || !pattern->is_object() || pattern->size() != 1) {
    return unsupported_field(pattern_path, "must be {\"Regex\": ...} or {\"String\": ...}");
  }
  const bool literal = pattern->contains("String");
  auto source = string_field(*pattern, pattern_path, literal ? "String" : "Regex");
  if (!source) return source.error();
  auto behavior = read_behavior(node, path);
  if (!behavior) return behavior.error();
  auto invert = bool_field(node, path, "invert", false);
  if (!invert) return invert.error();
  auto added =
      add_pattern(literal ? escape_regex(*source) : *source, *behavior, *invert, pattern_path);
  if (!added) return added;
  return only_fields(node, path, {"type", "pattern", "behavior", "invert"});
}

Result<void> PreTokenizer::add_digits(const nlohmann::ordered_json& node, const std::string& path) {
  auto individual = bool_field(node, path, "individual_digits", false);
  if (!individual) return individual.error();
  const Behavior behavior = *individual ? Behavior::kIsolated : Behavior::kContiguous;
  if (auto added = add_pattern(R"(\p{N})", behavior, false, path); !added) return added;
  return only_fields(node, path, {"type", "individual_digits"});
}

Result<void> PreTokenizer::add_punctuation(const nlohmann::ordered_json& node,
                                           const std::string& path) {
  auto behavior = read_behavior(node, path);
  if (!behavior) return behavior.error();
  auto added = add_pattern(R"([\p{P}!-/:-@\[-`{-~])", *behavior, false, path);
  if (!added) return added;
  return only_fields(node, path, {"type", "behavior"});
}

Result<void> PreTokenizer::add_byte_level(const nlohmann::ordered_json& node,
                                          const std::string& path) {
  auto prefix_space = bool_field(node, path, "add_prefix_space", true);
  if (!prefix_space) return prefix_space.error();
  auto use_regex = bool_field(node, path, "use_regex", true);
  if (!use_regex) return use_regex.error();
  if (*prefix_space) steps_.emplace_back(PrefixSpace{});
  if (*use_regex) {
    auto added = add_pattern(kGpt2Pattern, Behavior::kIsolated, false, path);
    if (!added) return added;
  }
  byte_level_ = true;
  // trim_offsets concerns offsets into the text, which we do not report.
  return only_fields(node, path, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
}

Result<void> PreTokenizer::add_pattern(std::string_view pattern, Behavior behavior, bool invert,
                                       const std::string& path) {
  auto regex = Regex::compile(pattern);
  if (!regex) return unsupported_field(path, regex.error().message);
  steps_.emplace_back(Split{std::move(*regex), behavior, invert});
  return {};
}

Result<PreTokenizer::Behavior> PreTokenizer::read_behavior(const nlohmann::ordered_json& node,
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

void PreTokenizer::Split::apply(std::string_view text, std::vector<std::string_view>& words) const {
  std::vector<Span> cut = spans(regex, text, invert);
  if (behavior == Behavior::kContiguous) cut = contiguous(cut);
  if (behavior == Behavior::kMergedWithPrevious) cut = merged_with_previous(cut);
  if (behavior == Behavior::kMergedWithNext) cut = merged_with_next(cut);
  for (const Span& span : cut) {
    if (span.begin == span.end || (behavior == Behavior::kRemoved && span.is_match)) continue;
    words.push_back(text.substr(span.begin, span.end - span.begin));
  }
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text,
                                                  std::deque<std::string>& rewritten) const {
  std::vector<std::string_view> words;
  if (text.empty()) return words;
  words.push_back(text);
  for (const Step& step : steps_) {
    std::vector<std::string_view> finer;
    finer.reserve(words.size());
    for (const std::string_view word : words) {
      if (const Split* split = std::get_if<Split>(&step)) {
        split->apply(word, finer);
      } else if (word.starts_with(' ')) {
        finer.push_back(word);
      } else {
        finer.push_back(rewritten.emplace_back(' ' + std::string(word)));
      }
    }
    words = std::move(finer);
  }
  return words;
}

}  // namespace tessera
