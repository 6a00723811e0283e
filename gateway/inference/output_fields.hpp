// output_fields.hpp — what a request says of the form of its answer, read strictly.
//
// Two members say it. `response_format` is OpenAI's: text, json_object, json_schema.
// `structured_outputs` is ours, with the name that vLLM uses: at most one of regex, choice, grammar
// and json_schema, and the options, which hold for response_format and for tools too:
//
//   syntax          of a grammar: "lark" (default) or "gbnf"
//   whitespace      "compact" (default): none between JSON's tokens; "flexible": up to 16 bytes
//   property_order  "schema" (default): as declared; "any"
//   escapes         in strings: "json" (default): any that JSON has; "minimal": only needed ones
//   integers        "strict" (default): digits; "spec": also 1.0, where the schema says integer
//   formats         "assert" (default), "annotate": without effect, "strict": unknown ones are
//                   refused
//   complete_within_max_tokens  end the answer in time
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/guided/constraint.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/inference/asked_constraint.hpp"

namespace tessera {

struct OutputRules {
  guided::SchemaOptions schema = {};
  guided::DocumentOptions document = {};
  bool complete_within_max_tokens = false;
};

struct OutputFormat {
  OutputRules rules = {};
  std::optional<AskedConstraint> asked = {};  // none: any text
  bool openai_strict = false;                 // OpenAI's `strict` was asked for
};

// `text` is the request's own, for the schema's own bytes; empty: the tree's are taken. Faults go
// to `fields`.
void read_output_format(Fields& fields, std::string_view text, OutputFormat& format);

}  // namespace tessera
