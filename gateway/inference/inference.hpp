// inference.hpp — what all endpoints that ask the engine have in common: the model, the permit, the
// limits.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/package_shelf.hpp"
#include "engine/adapter_mix.hpp"
#include "gateway/inference/answer_format.hpp"
#include "gateway/inference/openai_types.hpp"
#include "gateway/routes.hpp"

namespace tessera {

// What a request's "model" means to its caller.
struct ResolvedModel {
  std::string name;  // "tessera-demo", or the pinned "support-bot@7"; of a mix: the base's
  std::optional<AdapterDigest> adapter = {};  // of a mix: mix_digest()
  std::vector<MixedAdapter> mix = {};         // empty: one adapter, or none
  std::string version = {};                   // "support-bot@7", "a@7*0.75+b@2*0.25"; or empty
  bool is_plain = true;                       // can be mixed with others
  std::vector<PackagePin> pins = {};          // of the adapters' bytes, to the end of the request
};

// Errors: kModelNotFound, the same for another tenant's adapter and one that does not exist.
Result<ResolvedModel> resolve_model(Platform& platform, const Caller& caller,
                                    const std::string& model, const StickyKeys& keys = {});

// The name that permissions, limits and prices know a model by: "support-bot" in every form that
// means one of its versions or aliases.
std::string_view model_family(const Platform& platform, const Caller& caller,
                              std::string_view model);

// What "model" and "adapters" of a request mean. Its adapters are on their way to memory from here
// on: while the prompt is tokenised and a constraint compiled. Errors: those of resolve_model; of a
// mix kInvalidValue, naming the term: "model" is not the base, an adapter is named twice, is the
// base, or has more than pairs of matrices.
Result<ResolvedModel> resolve_requested(Platform& platform, const Caller& caller,
                                        const InferenceOptions& options);

enum class AnswerKind : std::uint8_t { kChat, kText, kEmbedding, kResponse };

// A request that is ready but for its constraint and its reservation.
struct PreparedInference {
  AnswerKind kind;
  ResolvedModel model;
  InferenceOptions options;
  std::vector<std::vector<TokenId>> prompts;  // one a choice, none empty
  std::optional<AnswerReading> reading = {};
  std::shared_ptr<guided::Constraint> constraint = {};  // that options.format asks for
  std::vector<std::string> echoes = {};                 // one a prompt, or none
  PromptOutput prompt_output = PromptOutput::kNone;     // of an embedding
  EmbeddingForm embedding = {};
  nlohmann::ordered_json response = {};  // of the Responses API: what the request says of it
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
