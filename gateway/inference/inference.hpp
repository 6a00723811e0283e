// inference.hpp — what chat and text completions have in common: the model, the permit, the limits.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/inference/openai_types.hpp"
#include "gateway/routes.hpp"

namespace tessera {

// What a request's "model" means to its caller.
struct ResolvedModel {
  std::string name;  // "tessera-demo", or the pinned "support-bot@7"
  std::optional<AdapterDigest> adapter;
};

// Errors: kModelNotFound, the same for another tenant's adapter and one that does not exist.
Result<ResolvedModel> resolve_model(Platform& platform, const Caller& caller,
                                    const std::string& model);

enum class AnswerKind : std::uint8_t { kChat, kText };

// A request that is ready but for its constraint and its reservation.
struct PreparedInference {
  AnswerKind kind;
  ResolvedModel model;
  InferenceOptions options;
  std::vector<std::vector<TokenId>> prompts;  // one a choice, none empty
  std::optional<AnswerReading> reading = {};
  std::shared_ptr<guided::Constraint> constraint = {};  // that options.format asks for
};

// Finds or compiles the constraint that the options ask for, if they do, and goes on with
// begin_generation. A constraint that has to be compiled makes the reply a Deferred.
Result<Reply> begin_constrained(Platform& platform, Call& call, Permit permit,
                                PreparedInference prepared);

// Checks the prompts against the context, reserves their tokens and makes the Generation. A
// reservation that is refused is an ordinary answer, 429.
// Errors: kContextLengthExceeded, with "maximum context length" in the message, which clients
// look for.
Result<Reply> begin_generation(Platform& platform, Call& call, Permit permit,
                               PreparedInference prepared);

// "fp_…": base weights, engine build and adapter, hashed.
std::string system_fingerprint(const BaseDigest& base, const std::optional<AdapterDigest>& adapter);

}  // namespace tessera
