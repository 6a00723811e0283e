#include "engine/guided/schema_keywords.hpp"

#include <array>
#include <cstddef>

namespace tessera::guided {
namespace {

using enum Draft;

// `definitions` and `dependencies` outlive their drafts: the later drafts' metaschemas still
// describe them. `additionalItems` goes with the array form of `items`, which see.
constexpr std::array kKeywords = std::to_array<KeywordInfo>({
    {"$anchor", Keyword::kAnchor, k2019_09},
    {"$defs", Keyword::kDefinitions, k4, k2020_12, Subschemas::kMembers},
    {"$dynamicAnchor", Keyword::kDynamicAnchor, k2020_12},
    {"$dynamicRef", Keyword::kDynamicRef, k2020_12},
    {"$id", Keyword::kId, k6},
    {"$recursiveAnchor", Keyword::kRecursiveAnchor, k2019_09, k2019_09},
    {"$recursiveRef", Keyword::kRecursiveRef, k2019_09, k2019_09},
    {"$ref", Keyword::kRef},
    {"$schema", Keyword::kSchema},
    {"$vocabulary", Keyword::kVocabulary, k2019_09},
    {"additionalItems", Keyword::kAdditionalItems, k4, k2020_12, Subschemas::kValue,
     kVocabularyApplicator},
    {"additionalProperties", Keyword::kAdditionalProperties, k4, k2020_12, Subschemas::kValue,
     kVocabularyApplicator},
    {"allOf", Keyword::kAllOf, k4, k2020_12, Subschemas::kItems, kVocabularyApplicator},
    {"anyOf", Keyword::kAnyOf, k4, k2020_12, Subschemas::kItems, kVocabularyApplicator},
    {"const", Keyword::kConst, k6, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"contains", Keyword::kContains, k6, k2020_12, Subschemas::kValue, kVocabularyApplicator},
    {"definitions", Keyword::kDefinitions, k4, k2020_12, Subschemas::kMembers},
    {"dependencies", Keyword::kDependencies, k4, k2020_12, Subschemas::kMembers,
     kVocabularyApplicator},
    {"dependentRequired", Keyword::kDependentRequired, k2019_09, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"dependentSchemas", Keyword::kDependentSchemas, k2019_09, k2020_12, Subschemas::kMembers,
     kVocabularyApplicator},
    {"else", Keyword::kElse, k7, k2020_12, Subschemas::kValue, kVocabularyApplicator},
    {"enum", Keyword::kEnum, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"exclusiveMaximum", Keyword::kExclusiveMaximum, k4, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"exclusiveMinimum", Keyword::kExclusiveMinimum, k4, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"format", Keyword::kFormat, k4, k2020_12, Subschemas::kNowhere, kVocabularyFormat},
    {"id", Keyword::kLegacyId, k4, k4},
    {"if", Keyword::kIf, k7, k2020_12, Subschemas::kValue, kVocabularyApplicator},
    {"items", Keyword::kItems, k4, k2020_12, Subschemas::kValueOrItems, kVocabularyApplicator},
    {"maxContains", Keyword::kMaxContains, k2019_09, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"maxItems", Keyword::kMaxItems, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"maxLength", Keyword::kMaxLength, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"maxProperties", Keyword::kMaxProperties, k4, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"maximum", Keyword::kMaximum, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"minContains", Keyword::kMinContains, k2019_09, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"minItems", Keyword::kMinItems, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"minLength", Keyword::kMinLength, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"minProperties", Keyword::kMinProperties, k4, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
    {"minimum", Keyword::kMinimum, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"multipleOf", Keyword::kMultipleOf, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"not", Keyword::kNot, k4, k2020_12, Subschemas::kValue, kVocabularyApplicator},
    {"oneOf", Keyword::kOneOf, k4, k2020_12, Subschemas::kItems, kVocabularyApplicator},
    {"pattern", Keyword::kPattern, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"patternProperties", Keyword::kPatternProperties, k4, k2020_12, Subschemas::kMembers,
     kVocabularyApplicator},
    {"prefixItems", Keyword::kPrefixItems, k2020_12, k2020_12, Subschemas::kItems,
     kVocabularyApplicator},
    {"properties", Keyword::kProperties, k4, k2020_12, Subschemas::kMembers, kVocabularyApplicator},
    {"propertyNames", Keyword::kPropertyNames, k6, k2020_12, Subschemas::kValue,
     kVocabularyApplicator},
    {"required", Keyword::kRequired, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"then", Keyword::kThen, k7, k2020_12, Subschemas::kValue, kVocabularyApplicator},
    {"type", Keyword::kType, k4, k2020_12, Subschemas::kNowhere, kVocabularyValidation},
    {"unevaluatedItems", Keyword::kUnevaluatedItems, k2019_09, k2020_12, Subschemas::kValue,
     kVocabularyUnevaluated},
    {"unevaluatedProperties", Keyword::kUnevaluatedProperties, k2019_09, k2020_12,
     Subschemas::kValue, kVocabularyUnevaluated},
    {"uniqueItems", Keyword::kUniqueItems, k4, k2020_12, Subschemas::kNowhere,
     kVocabularyValidation},
});

constexpr std::size_t kSlots = 512;
constexpr std::uint8_t kEmptySlot = 255;

constexpr std::size_t slot_of(std::string_view name) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(name[i]); };
  std::size_t hash = name.size() * 31U + byte(0) * 7U;
  hash += byte(name.size() / 2) * 131U + byte(name.size() - 1) * 17U;
  hash += byte(name.size() > 3 ? 3 : name.size() - 1) * 61U;
  return hash % kSlots;
}

constexpr auto make_slots() {
  std::array<std::uint8_t, kSlots> slots{};
  for (auto& slot : slots) slot = kEmptySlot;
  for (std::size_t i = 0; i < kKeywords.size(); ++i) {
    std::size_t slot = slot_of(kKeywords[i].name);
    while (slots[slot] != kEmptySlot) slot = (slot + 1) % kSlots;
    slots[slot] = static_cast<std::uint8_t>(i);
  }
  return slots;
}

constexpr auto kSlotTable = make_slots();

}  // namespace

const KeywordInfo* find_keyword(std::string_view name) {
  if (name.empty()) return nullptr;
  for (std::size_t slot = slot_of(name); kSlotTable[slot] != kEmptySlot;
       slot = (slot + 1) % kSlots) {
    const KeywordInfo& info = kKeywords[kSlotTable[slot]];
    if (info.name == name) return &info;
  }
  return nullptr;
}

std::optional<Draft> draft_named(std::string_view uri) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (uri.starts_with(scheme)) {
      uri.remove_prefix(scheme.size());
      break;
    }
  }
  if (uri.ends_with('#')) uri.remove_suffix(1);
  if (uri == "json-schema.org/draft-04/schema") return k4;
  if (uri == "json-schema.org/draft-06/schema") return k6;
  if (uri == "json-schema.org/draft-07/schema") return k7;
  if (uri == "json-schema.org/draft/2019-09/schema") return k2019_09;
  if (uri == "json-schema.org/draft/2020-12/schema") return k2020_12;
  return std::nullopt;
}

}  // namespace tessera::guided
