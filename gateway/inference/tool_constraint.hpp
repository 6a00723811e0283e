// tool_constraint.hpp — the texts in which a model calls tools as it was asked to.
//
// What an answer with calls looks like is the model family's affair
// (engine/text/answer_syntax.hpp). Here that becomes structural tags (guided::TagRules), a tag for
// each function that may be called: what opens its call, its arguments by its schema, what closes
// it. Everything that the answer's parser would take for a call is then a call of one of those
// functions with whole arguments.
//
// With tool_choice auto the model may say anything else. In families whose calls need no mark
// (Llama 3, plain JSON) content cannot be told from a call then, and that is refused.
#pragma once

#include "engine/guided/constraint.hpp"
#include "engine/text/answer_syntax.hpp"
#include "engine/text/tokenizer.hpp"
#include "gateway/inference/asked_constraint.hpp"
#include "gateway/inference/chat_tools.hpp"
#include "gateway/inference/output_fields.hpp"
#include "storage/result.hpp"

namespace tessera {

// The constraint of an answer to `tools`, which are constrained().
// Errors: kUnsupportedParameter if the model writes calls in no form that is known here;
// kInvalidJsonSchema if a function's parameters are not an object's.
Result<AskedConstraint> tool_constraint(const AnswerSyntax& syntax, const Tokenizer& tokenizer,
                                        const ChatTools& tools, const OutputRules& rules);

}  // namespace tessera
