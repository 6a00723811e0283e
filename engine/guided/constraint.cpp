#include "engine/guided/constraint.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/guided/compiled_constraint.hpp"
#include "engine/guided/document_recognizer.hpp"
#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/grammar_recognizer.hpp"
#include "engine/guided/matcher.hpp"
#include "engine/guided/tag_recognizer.hpp"
#include "engine/guided/text_recognizer.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

constexpr std::string_view kObjectSchema = R"({"type":"object"})";

// Writes values so that no two specs are written alike: each text after its length.
class KeyWriter {
 public:
  void number(std::uint64_t value) {
    key_ += std::to_string(value);
    key_ += ' ';
  }
  void text(std::string_view value) {
    number(value.size());
    key_ += value;
  }
  void spec(const ConstraintSpec& spec);
  std::string take() { return std::move(key_); }

 private:
  void schema_options(const SchemaOptions& options);
  void document_options(const DocumentOptions& options);
  void tags(const TagRules& rules);

  std::string key_;
};

void KeyWriter::schema_options(const SchemaOptions& options) {
  number(static_cast<std::uint64_t>(options.default_draft));
  number(options.assert_unknown_formats);
  number(options.assert_formats);
  number(static_cast<std::uint64_t>(options.integer_form));
  number(options.documents.size());
  for (const auto& [uri, document] : options.documents) {
    text(uri);
    text(document);
  }
}

void KeyWriter::document_options(const DocumentOptions& options) {
  number(static_cast<std::uint64_t>(options.property_order));
  number(static_cast<std::uint64_t>(options.whitespace));
  number(static_cast<std::uint64_t>(options.max_whitespace));
  number(static_cast<std::uint64_t>(options.escapes));
  number(static_cast<std::uint64_t>(options.integer_form));
  number(static_cast<std::uint64_t>(options.max_depth));
}

void KeyWriter::tags(const TagRules& rules) {
  number(rules.triggers.size());
  for (const std::string& trigger : rules.triggers) text(trigger);
  number(rules.tags.size());
  for (const Tag& tag : rules.tags) {
    text(tag.begin);
    text(tag.end);
    number(tag.body ? 1 : 0);
    if (tag.body) spec(*tag.body);
  }
  number(rules.at_least_one);
  number(rules.stop_after_first);
  number(rules.free_text);
  text(rules.separator);
}

void KeyWriter::spec(const ConstraintSpec& spec) {
  number(static_cast<std::uint64_t>(spec.kind));
  text(spec.source);
  number(spec.choices.size());
  for (const std::string& choice : spec.choices) text(choice);
  tags(spec.tags);
  schema_options(spec.schema);
  document_options(spec.document);
  text(spec.free_from);
  text(spec.free_until);
  number(spec.free_until_token ? 1 : 0);
  number(static_cast<std::uint64_t>(spec.free_until_token.value_or(0)));
}

GuidedFindings one_finding(FindingKind kind, std::string reason, std::string keyword = {}) {
  GuidedFinding finding;
  finding.kind = kind;
  finding.reason = std::move(reason);
  finding.keyword = std::move(keyword);
  return {std::move(finding)};
}

FindingKind kind_of(const Error& error) {
  switch (error.code) {
    case Code::kUnsupportedParameter:
      return FindingKind::kUnsupported;
    case Code::kRequestExceedsLimit:
    case Code::kPayloadTooLarge:
      return FindingKind::kTooLarge;
    default:
      return FindingKind::kInvalid;
  }
}

// What the findings have in common: the first of this order that any of them is.
CompileError as_error(GuidedFindings findings) {
  const auto has = [&](FindingKind kind) {
    return std::any_of(findings.begin(), findings.end(),
                       [kind](const GuidedFinding& finding) { return finding.kind == kind; });
  };
  CompileError error;
  error.kind = has(FindingKind::kInvalid)       ? CompileError::Kind::kInvalid
               : has(FindingKind::kUnsupported) ? CompileError::Kind::kUnsupported
               : has(FindingKind::kTooLarge)    ? CompileError::Kind::kTooLarge
                                                : CompileError::Kind::kTooComplex;
  error.findings = std::move(findings);
  return error;
}

std::vector<TokenId> special_tokens(const Vocabulary& vocabulary) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
    if (vocabulary.special(id) && !vocabulary.is_end(id)) ids.push_back(id);
  }
  return ids;
}

// Makes recognizers of specs, all on one pool. FuelExhausted comes through.
class SpecCompiler {
 public:
  SpecCompiler(RegexPool& pool, Fuel& fuel, const Vocabulary& vocabulary,
               const GuidedLimits& limits)
      : pool_(pool), fuel_(fuel), vocabulary_(vocabulary), limits_(limits) {
    pool_.set_horizon(vocabulary_.longest_token());
  }

  RecognizerOrFindings compile(const ConstraintSpec& spec);

 private:
  RecognizerOrFindings compile_kind(const ConstraintSpec& spec);
  RecognizerOrFindings compile_document(std::string_view schema, const ConstraintSpec& spec);
  RecognizerOrFindings compile_regex(const ConstraintSpec& spec);
  RecognizerOrFindings compile_choice(const ConstraintSpec& spec);
  RecognizerOrFindings compile_lark(const ConstraintSpec& spec);
  RecognizerOrFindings compile_tags(const ConstraintSpec& spec);

  RegexPool& pool_;
  Fuel& fuel_;
  const Vocabulary& vocabulary_;
  const GuidedLimits& limits_;
};

RecognizerOrFindings SpecCompiler::compile(const ConstraintSpec& spec) {
  if (spec.source.size() > limits_.max_source_bytes) {
    return one_finding(FindingKind::kTooLarge,
                       "has " + std::to_string(spec.source.size()) + " bytes; at most " +
                           std::to_string(limits_.max_source_bytes) + " are taken");
  }
  RecognizerOrFindings made = compile_kind(spec);
  const bool waits = !spec.free_until.empty() || spec.free_until_token.has_value();
  if (!waits || std::holds_alternative<GuidedFindings>(made)) return made;
  FreeSegment segment{spec.free_from, spec.free_until, spec.free_until_token,
                      special_tokens(vocabulary_)};
  return make_free_until_recognizer(std::move(segment),
                                    std::get<std::unique_ptr<Recognizer>>(std::move(made)));
}

RecognizerOrFindings SpecCompiler::compile_kind(const ConstraintSpec& spec) {
  switch (spec.kind) {
    case ConstraintKind::kJsonObject:
      return compile_document(kObjectSchema, spec);
    case ConstraintKind::kJsonSchema:
      return compile_document(spec.source, spec);
    case ConstraintKind::kRegex:
      return compile_regex(spec);
    case ConstraintKind::kChoice:
      return compile_choice(spec);
    case ConstraintKind::kLark:
      return compile_lark(spec);
    case ConstraintKind::kGbnf:
      return make_gbnf_recognizer(spec.source, pool_, fuel_, limits_);
    case ConstraintKind::kTags:
      return compile_tags(spec);
  }
  return one_finding(FindingKind::kInvalid, "is of no known kind");
}

RecognizerOrFindings SpecCompiler::compile_document(std::string_view schema,
                                                    const ConstraintSpec& spec) {
  auto graph = compile_schema(schema, pool_, spec.schema, limits_);
  if (auto* findings = std::get_if<GuidedFindings>(&graph)) return std::move(*findings);
  return make_document_recognizer(std::get<SchemaGraph>(std::move(graph)), pool_, fuel_,
                                  spec.document);
}

RecognizerOrFindings SpecCompiler::compile_regex(const ConstraintSpec& spec) {
  const auto language = parse_ecma_whole(spec.source, pool_, limits_);
  if (!language) return one_finding(kind_of(language.error()), language.error().message, "regex");
  if (!pool_.alive(*language)) {
    return one_finding(FindingKind::kUnsupported, "matches no text at all", "regex");
  }
  return std::make_unique<TextRecognizer>(pool_, *language);
}

RecognizerOrFindings SpecCompiler::compile_choice(const ConstraintSpec& spec) {
  if (spec.choices.empty()) return one_finding(FindingKind::kInvalid, "is empty", "choice");
  std::size_t bytes = 0;
  std::vector<std::string_view> choices;
  GuidedFindings findings;
  for (std::size_t i = 0; i < spec.choices.size(); ++i) {
    bytes += spec.choices[i].size();
    choices.emplace_back(spec.choices[i]);
    if (is_utf8(spec.choices[i])) continue;
    findings.push_back(one_finding(FindingKind::kInvalid, "is not UTF-8", "choice").front());
    findings.back().pointer = "/" + std::to_string(i);
    if (findings.size() == limits_.max_findings) break;
  }
  if (!findings.empty()) return findings;
  if (choices.size() > limits_.max_enum_values || bytes > limits_.max_enum_bytes) {
    return one_finding(FindingKind::kTooLarge,
                       "has " + std::to_string(choices.size()) + " texts of " +
                           std::to_string(bytes) + " bytes; at most " +
                           std::to_string(limits_.max_enum_values) + " of " +
                           std::to_string(limits_.max_enum_bytes) + " are taken",
                       "choice");
  }
  return std::make_unique<TextRecognizer>(pool_, pool_.any_of_literals(choices));
}

RecognizerOrFindings SpecCompiler::compile_lark(const ConstraintSpec& spec) {
  const auto make_schema = [&](std::string_view schema) { return compile_document(schema, spec); };
  return make_lark_recognizer(spec.source, pool_, fuel_, limits_, make_schema);
}

RecognizerOrFindings SpecCompiler::compile_tags(const ConstraintSpec& spec) {
  const auto make_body = [this](const ConstraintSpec& body) { return compile(body); };
  return make_tag_recognizer(spec.tags, special_tokens(vocabulary_), make_body, fuel_, limits_);
}

CompileError too_complex() {
  return as_error(one_finding(FindingKind::kTooComplex, "takes too much work to compile"));
}

// Whether the first masks, and those on the shortest way to an end, are within what a mask may
// cost. Those of a constraint that took little to compile are made only if the first is not cheap.
bool can_be_served(const std::shared_ptr<Constraint>& constraint, std::uint64_t compile_fuel) {
  constexpr std::uint64_t kCheap = 20'000;
  constexpr std::size_t kTokens = 6;
  const std::uint64_t fuel = constraint->limits().trial_fuel;
  if (fuel == 0) return true;
  Matcher matcher(constraint);
  if (matcher.mask(std::min(fuel, kCheap)) && compile_fuel <= kCheap) return true;
  if (!matcher.mask(fuel)) return false;
  std::vector<TokenId> way = matcher.shortest_completion();
  if (way.empty() && !matcher.accepting()) return false;
  way.resize(std::min(way.size(), kTokens));
  return std::ranges::all_of(way, [&](TokenId token) {
    return matcher.accept(token) && matcher.mask(fuel / 4) != nullptr;
  });
}

}  // namespace

std::string ConstraintSpec::key() const {
  KeyWriter writer;
  writer.spec(*this);
  return writer.take();
}

std::variant<std::unique_ptr<CompiledRecognizer>, CompileError> compile_recognizer(
    const ConstraintSpec& spec, const Vocabulary& vocabulary, const GuidedLimits& limits) {
  auto compiled = std::make_unique<CompiledRecognizer>(limits);
  try {
    SpecCompiler compiler(compiled->pool, compiled->fuel, vocabulary, limits);
    auto made = compiler.compile(spec);
    if (auto* findings = std::get_if<GuidedFindings>(&made)) return as_error(std::move(*findings));
    compiled->recognizer = std::get<std::unique_ptr<Recognizer>>(std::move(made));
    return compiled;
  } catch (const FuelExhausted&) {
    return too_complex();
  }
}

std::variant<std::shared_ptr<Constraint>, CompileError> compile_constraint(
    const ConstraintSpec& spec, std::shared_ptr<const Vocabulary> vocabulary,
    const GuidedLimits& limits) {
  auto compiled = compile_recognizer(spec, *vocabulary, limits);
  if (auto* error = std::get_if<CompileError>(&compiled)) return std::move(*error);
  auto& made = std::get<std::unique_ptr<CompiledRecognizer>>(compiled);
  const std::uint64_t fuel = limits.compile_fuel - made->fuel.left();
  auto constraint =
      std::make_shared<Constraint>(spec, std::move(vocabulary), limits, std::move(made));
  if (!constraint->epoch() || !constraint->epoch()->start()) return too_complex();
  if (!can_be_served(constraint, fuel)) {
    return as_error(one_finding(FindingKind::kTooComplex, "takes too much work to generate"));
  }
  return constraint;
}

}  // namespace tessera::guided
