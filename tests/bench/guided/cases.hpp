// cases.hpp — what guided_driver does with one schema: follow instances, tell masks, draw
// documents.
//
// Everything goes through compile_constraint() and Matcher, as the engine does it. The requests and
// answers are described in driver.cpp. Not thread-safe: the driver has one thread, so that its CPU
// clock is the cost.
#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "engine/guided/matcher.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

using Json = nlohmann::json;
using SharedVocabulary = std::shared_ptr<const Vocabulary>;

Json empty_intervals(int count);

// "compile_ns" (one, and under "warm" a second one), "instances": [{"tokens": accepted, "whole":
// all were, "end": the text may end there, "disagree": tokens on which mask() and accept() differ,
// "failed": a mask's budget ran out}], "cold_ns", "warm_ns": mask and accept of each token.
Json replay(const Json& request, const SharedVocabulary& vocabulary);

// "masks": [[id, ...] or null where the prefix itself was refused, ...].
Json masks(const Json& request, const SharedVocabulary& vocabulary);

// "documents": [text, ...] as bytes in U+0000 to U+00FF, "dead": [text of a walk without a next
// token, ...], "open": [text, ...] of those that could not be ended, "tokens".
Json walk(const Json& request, const SharedVocabulary& vocabulary);

}  // namespace tessera::guided
