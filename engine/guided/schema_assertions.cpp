#include <algorithm>
#include <unordered_set>
#include <utility>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/formats.hpp"
#include "engine/guided/schema_compilation.hpp"

namespace tessera::guided {
namespace {

std::optional<std::uint8_t> type_named(std::string_view name) {
  if (name == "string") return kTypeString;
  if (name == "object") return kTypeObject;
  if (name == "array") return kTypeArray;
  if (name == "integer") return kTypeInteger;
  if (name == "number") return kTypeNumber | kTypeInteger;
  if (name == "boolean") return kTypeBoolean;
  if (name == "null") return kTypeNull;
  return std::nullopt;
}

void drop_repeated(std::vector<ValueId>& values) {
  std::unordered_set<ValueId> seen;
  std::erase_if(values, [&](ValueId value) { return !seen.insert(value).second; });
}

JsonIndex at(const auto& keywords, Keyword keyword) {
  return keywords[static_cast<std::size_t>(keyword)];
}

}  // namespace

std::optional<std::uint8_t> SchemaCompilation::read_types(JsonIndex at) {
  const JsonNode& node = tree_[at];
  const auto read = [&](JsonIndex name) -> std::optional<std::uint8_t> {
    if (tree_[name].kind == JsonKind::kString) {
      if (const auto bit = type_named(tree_[name].text)) return bit;
    }
    sink_.add(name, "type",
              "a type is one of string, number, integer, object, array, boolean, null",
              FindingKind::kInvalid);
    return std::nullopt;
  };
  if (node.kind != JsonKind::kArray) return read(at);
  std::uint8_t types = 0;
  for (JsonIndex item = at + 1; item != node.next; item = tree_[item].next) {
    const auto bit = read(item);
    if (!bit) return std::nullopt;
    types |= *bit;
  }
  if (types == 0) invalid(at, "must name at least one type");
  return types;
}

// type, enum, const
void SchemaCompilation::build_values(const Keywords& keywords, Schema& schema) {
  if (const JsonIndex type = at(keywords, Keyword::kType); type != kNoJson) {
    schema.types = read_types(type).value_or(kTypeAny);
  }
  if (const JsonIndex list = at(keywords, Keyword::kEnum); list != kNoJson) {
    if (tree_[list].kind != JsonKind::kArray) return invalid(list, "must be an array");
    std::vector<ValueId>& values = schema.values.emplace();
    values.reserve(tree_[list].count);
    for (JsonIndex item = list + 1; item != tree_[list].next; item = tree_[item].next) {
      const auto value = read_value(item);
      if (!value) return;
      values.push_back(*value);
    }
    drop_repeated(values);
  }
  if (const JsonIndex only = at(keywords, Keyword::kConst); only != kNoJson) {
    const auto value = read_value(only);
    if (!value) return;
    const bool possible = !schema.values || std::ranges::count(*schema.values, *value) > 0;
    schema.values.emplace();
    if (possible) schema.values->push_back(*value);
  }
}

// A value of any depth, from the inside out: `open` holds the containers around the current node.
std::optional<ValueId> SchemaCompilation::read_value(JsonIndex root) {
  struct Open {
    JsonIndex container;
    std::vector<ValueId> items = {};
    std::vector<ValueTable::Member> members = {};
  };
  ValueTable& table = graph_.values;
  std::vector<Open> open;
  num_values_ += tree_[root].next - root;
  JsonIndex node = root;
  for (;;) {
    std::optional<ValueId> value;
    const JsonNode& json = tree_[node];
    value_bytes_ += json.text.size() + json.name.size();
    if (num_values_ > limits_.max_enum_values || value_bytes_ > limits_.max_enum_bytes) {
      give_up(root, keyword_of(root), "the values of enum and const are more than can be handled",
              FindingKind::kTooLarge);
      return std::nullopt;
    }
    switch (json.kind) {
      case JsonKind::kNull:
        value = table.null();
        break;
      case JsonKind::kBoolean:
        value = table.boolean(json.boolean);
        break;
      case JsonKind::kString:
        value = table.string(json.text);
        break;
      case JsonKind::kNumber: {
        auto number = Decimal::parse(json.text);
        if (!number) {
          too_large(node, "the number's exponent is beyond what can be handled");
          return std::nullopt;
        }
        value = table.number(std::move(*number));
        break;
      }
      case JsonKind::kArray:
      case JsonKind::kObject:
        open.push_back({.container = node});
        break;
    }
    JsonIndex next = node + 1;
    for (;;) {
      if (value) {
        if (open.empty()) return value;
        Open& around = open.back();
        if (tree_[around.container].kind == JsonKind::kArray)
          around.items.push_back(*value);
        else
          around.members.emplace_back(tree_[node].name, *value);
      }
      if (next != tree_[open.back().container].next) break;
      const Open closed = std::move(open.back());
      open.pop_back();
      node = closed.container;
      value = tree_[node].kind == JsonKind::kArray ? table.array(closed.items)
                                                   : table.object(closed.members);
    }
    node = next;
  }
}

std::optional<Decimal> SchemaCompilation::read_number(JsonIndex at) {
  if (tree_[at].kind != JsonKind::kNumber) {
    invalid(at, "must be a number");
    return std::nullopt;
  }
  auto number = Decimal::parse(tree_[at].text);
  if (!number) too_large(at, "the number's exponent is beyond what can be handled");
  return number;
}

std::optional<std::uint64_t> SchemaCompilation::read_count(JsonIndex at) {
  const auto number =
      tree_[at].kind == JsonKind::kNumber ? Decimal::parse(tree_[at].text) : std::nullopt;
  if (!number || number->negative() || !number->integral()) {
    invalid(at, "must be an integer that is not negative");
    return std::nullopt;
  }
  const auto value = number->to_int64();
  return value ? static_cast<std::uint64_t>(*value) : Schema::kUnlimited;
}

void SchemaCompilation::read_count_into(JsonIndex at, std::uint64_t& into) {
  if (at == kNoJson) return;
  if (const auto count = read_count(at)) into = *count;
}

// `exclusive` is a number of its own, or draft 4's boolean about the other; the boolean is common
// where $schema is missing, and can mean nothing else.
void SchemaCompilation::build_bound(JsonIndex bound, JsonIndex exclusive,
                                    std::vector<NumberBound>& bounds) {
  bool is_exclusive = false;
  if (exclusive != kNoJson) {
    if (tree_[exclusive].kind == JsonKind::kBoolean) {
      is_exclusive = tree_[exclusive].boolean;
    } else if (auto number = read_number(exclusive)) {
      bounds.push_back({.value = std::move(*number), .exclusive = true});
    }
  }
  if (bound == kNoJson) return;
  if (auto number = read_number(bound)) {
    bounds.push_back({.value = std::move(*number), .exclusive = is_exclusive});
  }
}

void SchemaCompilation::build_numbers(const Keywords& keywords, Schema& schema) {
  build_bound(at(keywords, Keyword::kMinimum), at(keywords, Keyword::kExclusiveMinimum),
              schema.minimum);
  build_bound(at(keywords, Keyword::kMaximum), at(keywords, Keyword::kExclusiveMaximum),
              schema.maximum);
  const JsonIndex multiple = at(keywords, Keyword::kMultipleOf);
  if (multiple == kNoJson) return;
  auto divisor = read_number(multiple);
  if (!divisor) return;
  if (divisor->negative() || divisor->zero()) return invalid(multiple, "must be greater than 0");
  schema.multiple_of.push_back(std::move(*divisor));
}

void SchemaCompilation::build_text(const Keywords& keywords, Schema& schema) {
  const JsonIndex min = at(keywords, Keyword::kMinLength);
  const JsonIndex max = at(keywords, Keyword::kMaxLength);
  if (min != kNoJson || max != kNoJson) {
    std::uint64_t least = 0;
    std::uint64_t most = Schema::kUnlimited;
    read_count_into(min, least);
    read_count_into(max, most);
    schema.text.push_back(pool_.length_between(least, most));
  }
  if (const JsonIndex text = at(keywords, Keyword::kPattern); text != kNoJson) {
    if (tree_[text].kind != JsonKind::kString) return invalid(text, "must be a string");
    if (const auto language = pattern(text, tree_[text].text)) schema.text.push_back(*language);
  }
  if (const JsonIndex format = at(keywords, Keyword::kFormat); format != kNoJson) {
    read_format(format, schema.text);
  }
}

std::optional<RegexId> SchemaCompilation::pattern(JsonIndex at, std::string_view text) {
  const auto [entry, is_new] = patterns_.try_emplace(text);
  if (!is_new && entry->second) return entry->second;
  const Result<RegexId> language = parse_ecma_search(text, pool_, limits_);
  if (language) return entry->second = *language;
  const Error& error = language.error();
  if (error.code == Code::kUnsupportedParameter)
    unsupported(at, error.message);
  else
    invalid(at, error.message);
  return std::nullopt;
}

void SchemaCompilation::read_format(JsonIndex at, std::vector<RegexId>& into) {
  if (tree_[at].kind != JsonKind::kString) return invalid(at, "must be a string");
  const std::uint8_t vocabularies = resources_[here_.resource].vocabularies;
  if (!options_.assert_formats && (vocabularies & kVocabularyFormatAssertion) == 0) return;
  const auto [entry, is_new] = formats_.try_emplace(tree_[at].text);
  if (is_new) entry->second = format_language(tree_[at].text, pool_, limits_);
  if (entry->second) {
    into.push_back(*entry->second);
  } else if (options_.assert_unknown_formats) {
    unsupported(at, "the format '" + brief(std::string(tree_[at].text)) + "' is not known here");
  }
}

std::vector<std::string> SchemaCompilation::read_names(JsonIndex at) {
  std::vector<std::string> names;
  if (tree_[at].kind != JsonKind::kArray) {
    const bool draft_3 = tree_[at].kind == JsonKind::kBoolean && keyword_of(at) == "required";
    invalid(at, draft_3 ? "draft 3's true or false; since draft 4 the object around lists the names"
                        : "must be an array of strings");
    return names;
  }
  names.reserve(tree_[at].count);
  for (JsonIndex item = at + 1; item != tree_[at].next; item = tree_[item].next) {
    if (tree_[item].kind != JsonKind::kString) {
      invalid(item, "must be a string");
      continue;
    }
    names.emplace_back(tree_[item].text);
  }
  num_names_ += names.size();
  if (num_names_ > limits_.max_properties) {
    give_up(at, keyword_of(at), "the schema requires too many names", FindingKind::kTooLarge);
  }
  return names;
}

}  // namespace tessera::guided
