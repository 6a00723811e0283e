#include "gateway/inference/output_fields.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "gateway/api/raw_json.hpp"
#include "gateway/config.hpp"
#include "gateway/http/http.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;
using guided::ConstraintKind;
using guided::ConstraintSpec;

constexpr std::string_view kFormat = "response_format";
constexpr std::string_view kOutputs = "structured_outputs";
constexpr std::size_t kMaxFormatNameChars = 64;

// A member that is one of a few words; the index of the one it is, `absent` if it is not there.
template <std::size_t N>
std::size_t read_word(Fields& fields, std::string_view name,
                      const std::array<std::string_view, N>& words, std::size_t absent) {
  const Json* value = fields.any(name);
  if (!value) return absent;
  if (value->is_string()) {
    const auto found = std::ranges::find(words, value->get_ref<const std::string&>());
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  }
  std::string list;
  for (const std::string_view word : words) {
    list += (list.empty() ? "'" : word == words.back() ? " or '" : ", '") + std::string(word) + "'";
  }
  fields.fail(Code::kInvalidValue, name, "'" + fields.path_of(name) + "' must be " + list + ".");
  return absent;
}

void read_options(Fields& fields, OutputRules& rules) {
  constexpr std::array<std::string_view, 2> kWhitespace = {"compact", "flexible"};
  constexpr std::array<std::string_view, 2> kOrder = {"schema", "any"};
  constexpr std::array<std::string_view, 2> kEscapes = {"json", "minimal"};
  constexpr std::array<std::string_view, 2> kIntegers = {"strict", "spec"};
  constexpr std::array<std::string_view, 3> kFormats = {"assert", "annotate", "strict"};
  const bool flexible = read_word(fields, "whitespace", kWhitespace, 0) == 1;
  rules.document.whitespace =
      flexible ? guided::Whitespace::kFlexible : guided::Whitespace::kCompact;
  const bool any_order = read_word(fields, "property_order", kOrder, 0) == 1;
  rules.document.property_order =
      any_order ? guided::PropertyOrder::kAny : guided::PropertyOrder::kSchema;
  const bool minimal = read_word(fields, "escapes", kEscapes, 0) == 1;
  rules.document.escapes = minimal ? guided::Escapes::kMinimal : guided::Escapes::kJson;
  const bool by_value = read_word(fields, "integers", kIntegers, 0) == 1;
  rules.document.integer_form =
      by_value ? guided::IntegerForm::kValue : guided::IntegerForm::kDigits;
  rules.schema.integer_form = rules.document.integer_form;
  const std::size_t formats = read_word(fields, "formats", kFormats, 0);
  rules.schema.assert_formats = formats != 1;
  rules.schema.assert_unknown_formats = formats == 2;
  fields.boolean("complete_within_max_tokens", rules.complete_within_max_tokens);
}

// The bytes of a schema: those of `text` where there is one.
std::string schema_source(const Json& tree, std::string_view text) {
  return text.empty() ? to_text(tree) : std::string(text);
}

// An object or a boolean; nothing and a fault if it is something else.
std::optional<std::string> read_schema(Fields& fields, std::string_view name,
                                       std::string_view object) {
  const Json* schema = fields.any(name);
  if (!schema) return std::nullopt;
  if (!schema->is_object() && !schema->is_boolean()) {
    fields.fail(Code::kInvalidValue, name,
                "'" + fields.path_of(name) + "' must be a JSON Schema, an object.");
    return std::nullopt;
  }
  return schema_source(*schema, raw_member(object, name));
}

bool is_format_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxFormatNameChars &&
         std::ranges::all_of(name,
                             [](char c) { return is_alphanumeric(c) || c == '_' || c == '-'; });
}

// {name, description, schema, strict}
void read_json_schema(Fields& format_fields, std::string_view text, OutputFormat& format) {
  const Json* value = format_fields.required_any("json_schema");
  if (!value) return;
  std::string name;
  std::string description;
  Fields fields(*value, format_fields.path_of("json_schema."));
  fields.required("name", name);
  if (!name.empty() && !is_format_name(name)) {
    fields.fail(Code::kInvalidValue, "name",
                "'" + fields.path_of("name") + "' must be 1 to 64 of a-z A-Z 0-9 _ -.");
  }
  fields.text("description", kMaxJsonBytes, description);
  fields.boolean("strict", format.openai_strict);
  auto schema = read_schema(fields, "schema", raw_member(text, "json_schema"));
  for (const std::string_view option : {"whitespace", "property_order", "escapes", "integers",
                                        "formats", "complete_within_max_tokens"}) {
    if (!fields.any(option)) continue;
    fields.fail(Code::kUnknownParameter, option,
                "'" + std::string(option) + "' belongs into 'structured_outputs', beside '" +
                    std::string(kFormat) + "'.");
  }
  format_fields.absorb(fields.finish());
  AskedConstraint& asked = format.asked.emplace();
  asked.place = {fields.path_of("schema"), "schema for response_format '" + name + "'"};
  if (!schema) return;  // any object
  asked.spec.kind = ConstraintKind::kJsonSchema;
  asked.spec.source = *std::move(schema);
}

void read_response_format(Fields& fields, std::string_view text, OutputFormat& format) {
  const Json* value = fields.any(kFormat);
  if (!value) return;
  std::string type;
  Fields nested(*value, std::string(kFormat) + ".");
  nested.required("type", type);
  if (type == "json_object") {
    format.asked.emplace().place = {std::string(kFormat), std::string(kFormat)};
  } else if (type == "json_schema") {
    read_json_schema(nested, raw_member(text, kFormat), format);
  } else if (type == "grammar" || type == "regex" || type == "structural_tag") {
    nested.fail(Code::kUnsupportedParameter, "type",
                "'response_format' is 'text', 'json_object' or 'json_schema' here; a regex, a "
                "choice or a grammar goes into 'structured_outputs'.");
  } else if (type != "text" && !type.empty()) {
    nested.fail(Code::kInvalidValue, "type",
                "'response_format.type' must be 'text', 'json_object' or 'json_schema'.");
  }
  fields.absorb(nested.finish());
}

void set(OutputFormat& format, Fields& fields, std::string_view name, ConstraintSpec spec) {
  if (format.asked) {
    fields.fail(Code::kInvalidValue, name,
                "'" + fields.path_of(name) + "' and '" + format.asked->place.param +
                    "' are two constraints; give one.");
    return;
  }
  AskedConstraint& asked = format.asked.emplace();
  asked.spec = std::move(spec);
  asked.place = {fields.path_of(name), "'" + fields.path_of(name) + "'"};
}

void read_regex(Fields& fields, OutputFormat& format) {
  if (!fields.any("regex")) return;
  ConstraintSpec spec{.kind = ConstraintKind::kRegex};
  fields.required("regex", spec.source);
  set(format, fields, "regex", std::move(spec));
}

void read_choice(Fields& fields, OutputFormat& format) {
  const Json* value = fields.any("choice");
  if (!value) return;
  ConstraintSpec spec{.kind = ConstraintKind::kChoice};
  const bool valid = value->is_array() && !value->empty() &&
                     std::ranges::all_of(*value, [](const Json& item) { return item.is_string(); });
  if (!valid) {
    return fields.fail(Code::kInvalidValue, "choice",
                       "'" + fields.path_of("choice") + "' must be an array of strings.");
  }
  for (const Json& item : *value) spec.choices.push_back(item.get<std::string>());
  set(format, fields, "choice", std::move(spec));
}

void read_grammar(Fields& fields, OutputFormat& format) {
  constexpr std::array<std::string_view, 2> kSyntax = {"lark", "gbnf"};
  const bool gbnf = read_word(fields, "syntax", kSyntax, 0) == 1;
  if (!fields.any("grammar")) {
    if (fields.any("syntax")) {
      fields.fail(Code::kInvalidValue, "syntax",
                  "'" + fields.path_of("syntax") + "' is only allowed beside 'grammar'.");
    }
    return;
  }
  ConstraintSpec spec{.kind = gbnf ? ConstraintKind::kGbnf : ConstraintKind::kLark};
  fields.required("grammar", spec.source);
  set(format, fields, "grammar", std::move(spec));
}

// What vLLM calls things that are called otherwise here, or are not here.
void refuse_names_of_vllm(Fields& fields) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kHints = {{
      {"json", "is called 'json_schema'"},
      {"json_object", "is 'response_format': {\"type\": \"json_object\"}"},
      {"structural_tag", "is made from 'tools' and 'tool_choice'"},
      {"whitespace_pattern", "is 'whitespace': \"compact\" or \"flexible\""},
      {"disable_any_whitespace", "is 'whitespace': \"compact\", the default"},
      {"disable_additional_properties", "is 'additionalProperties': false in the schema"},
  }};
  for (const auto& [name, hint] : kHints) {
    if (!fields.any(name)) continue;
    fields.fail(Code::kUnsupportedParameter, name,
                "'" + fields.path_of(name) + "' " + std::string(hint) + " on this server.");
  }
}

void read_structured_outputs(Fields& fields, std::string_view text, OutputFormat& format) {
  const Json* value = fields.any(kOutputs);
  if (!value) return;
  Fields nested(*value, std::string(kOutputs) + ".");
  read_options(nested, format.rules);
  read_regex(nested, format);
  read_choice(nested, format);
  read_grammar(nested, format);
  if (auto schema = read_schema(nested, "json_schema", raw_member(text, kOutputs))) {
    set(format, nested, "json_schema",
        {.kind = ConstraintKind::kJsonSchema, .source = *std::move(schema)});
  }
  refuse_names_of_vllm(nested);
  fields.absorb(nested.finish());
}

// The names that vLLM had before `structured_outputs`.
void refuse_legacy_names(Fields& fields) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNames = {{
      {"guided_json", "json_schema"},
      {"guided_regex", "regex"},
      {"guided_choice", "choice"},
      {"guided_grammar", "grammar"},
  }};
  for (const auto& [name, now] : kNames) {
    if (!fields.any(name)) continue;
    fields.fail(Code::kUnsupportedParameter, name,
                "'" + std::string(name) + "' is 'structured_outputs': {\"" + std::string(now) +
                    "\": …} on this server.");
  }
  for (const std::string_view name : {"guided_decoding_backend", "guided_whitespace_pattern"}) {
    if (!fields.any(name)) continue;
    fields.fail(Code::kUnsupportedParameter, name,
                "'" + std::string(name) +
                    "' has no counterpart on this server; see "
                    "'structured_outputs'.");
  }
}

}  // namespace

void read_output_format(Fields& fields, std::string_view text, OutputFormat& format) {
  read_response_format(fields, text, format);
  read_structured_outputs(fields, text, format);
  refuse_legacy_names(fields);
  if (!format.asked) return;
  format.asked->spec.schema = format.rules.schema;
  format.asked->spec.document = format.rules.document;
}

}  // namespace tessera
