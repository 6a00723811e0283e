// schema_compiler.hpp — from the text of a JSON Schema to its graph, or every reason why not.
//
// What a keyword means is the draft's affair: that of the $schema around it, else of the options. A
// keyword that the draft does not have is a note, as are title, default, contentEncoding and
// whatever is unknown: so says the specification. A keyword that the draft has, with a value that
// it cannot have, is a finding. Only what the root reaches is looked at.
//
// Where the letter would refuse what is common and can mean one thing only, it is taken at that:
// draft 4's boolean exclusiveMinimum in any draft; the array form of `items` and `$id`s that are
// mere fragments where no draft is named; `dependencies` in the drafts after it; a pointer that
// leads nowhere from the resource it is in, but somewhere from the document's root.
//
// Loops of references that never reach a part of the value: the specification leaves them
// undefined. As conditions ($ref, allOf) they allow nothing; through not, anyOf, oneOf, if or
// dependentSchemas they are a finding. A $dynamicRef is resolved for each dynamic scope that the
// schema can be in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/guided/guided_finding.hpp"
#include "engine/guided/schema.hpp"

namespace tessera::guided {

enum class Draft : std::uint8_t { k4, k6, k7, k2019_09, k2020_12 };

struct SchemaOptions {
  Draft default_draft = Draft::k2020_12;  // where $schema does not say
  bool assert_unknown_formats = false;  // refuse an unknown format instead of taking it for a note
  bool assert_formats = true;           // false: formats are notes, as the specification's default
  IntegerForm integer_form = IntegerForm::kDigits;  // for whoever writes numbers; not used here
  // Schemas that a $ref may name by URI besides those inside the schema itself: a bundle that the
  // tenant sends along, as (URI without fragment, text). Nothing is ever fetched.
  std::vector<std::pair<std::string, std::string>> documents = {};
};

// Iterative throughout; bounded by `limits` and by the pool's fuel (FuelExhausted comes through).
// The findings come in the order of the text, at most limits.max_findings of them. The graph's
// languages are the pool's, which is all that is shared: as thread-safe as the pool.
std::variant<SchemaGraph, GuidedFindings> compile_schema(std::string_view json, RegexPool& pool,
                                                         const SchemaOptions& options,
                                                         const GuidedLimits& limits);

}  // namespace tessera::guided
