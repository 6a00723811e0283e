// schema_keywords.hpp — the keywords of JSON Schema: which drafts have them and what stands in
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/guided/schema_compiler.hpp"

namespace tessera::guided {

enum class Keyword : std::uint8_t {
  kNone,  // not a keyword of ours: an annotation
  kAdditionalItems,
  kAdditionalProperties,
  kAllOf,
  kAnchor,
  kAnyOf,
  kConst,
  kContains,
  kDefinitions,  // and $defs
  kDependencies,
  kDependentRequired,
  kDependentSchemas,
  kDynamicAnchor,
  kDynamicRef,
  kElse,
  kEnum,
  kExclusiveMaximum,
  kExclusiveMinimum,
  kFormat,
  kId,        // $id
  kLegacyId,  // draft 4's id
  kIf,
  kItems,
  kMaxContains,
  kMaximum,
  kMaxItems,
  kMaxLength,
  kMaxProperties,
  kMinContains,
  kMinimum,
  kMinItems,
  kMinLength,
  kMinProperties,
  kMultipleOf,
  kNot,
  kOneOf,
  kPattern,
  kPatternProperties,
  kPrefixItems,
  kProperties,
  kPropertyNames,
  kRecursiveAnchor,
  kRecursiveRef,
  kRef,
  kRequired,
  kSchema,  // $schema
  kThen,
  kType,
  kUnevaluatedItems,
  kUnevaluatedProperties,
  kUniqueItems,
  kVocabulary,
};

inline constexpr std::size_t kNumKeywords = static_cast<std::size_t>(Keyword::kVocabulary) + 1;

// Where schemas stand in a keyword's value.
enum class Subschemas : std::uint8_t {
  kNowhere,
  kValue,    // the value is a schema
  kItems,    // it is an array of schemas
  kMembers,  // it is an object of schemas
  kValueOrItems,
};

// The vocabularies of 2019-09 and 2020-12, as bits: a metaschema of one's own may leave some out.
enum Vocabulary2020 : std::uint8_t {
  kVocabularyCore = 1,
  kVocabularyApplicator = 2,
  kVocabularyUnevaluated = 4,
  kVocabularyValidation = 8,
  kVocabularyFormat = 16,
  kVocabularyAll = 31,
  kVocabularyFormatAssertion = 32,  // formats are asserted whatever the options say
};

struct KeywordInfo {
  std::string_view name;
  Keyword keyword = Keyword::kNone;
  Draft first = Draft::k4;
  Draft last = Draft::k2020_12;
  Subschemas subschemas = Subschemas::kNowhere;
  std::uint8_t vocabulary = kVocabularyCore;

  bool in(Draft draft) const { return first <= draft && draft <= last; }
};

// nullptr if the name is no keyword of any draft.
const KeywordInfo* find_keyword(std::string_view name);

// The draft that a $schema names, with http or https, with or without '#'.
std::optional<Draft> draft_named(std::string_view uri);

}  // namespace tessera::guided
