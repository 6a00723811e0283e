#include "gateway/inference.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "gateway/rate_limits.hpp"
#include "gateway/version.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

constexpr std::size_t kMaxModelChars = 256;

Error context_exceeded(int max_context, std::size_t prompt_tokens, std::optional<int> max_tokens) {
  std::string message = "This model's maximum context length is " + std::to_string(max_context) +
                        " tokens, but the prompt has " + std::to_string(prompt_tokens) + " tokens";
  if (max_tokens) message += " and " + std::to_string(*max_tokens) + " more were asked for";
  message += ". Shorten the prompt" + std::string(max_tokens ? " or ask for fewer tokens." : ".");
  return {Code::kContextLengthExceeded, std::move(message)};
}

// How many tokens a prompt may be answered with: what the client asked for, or what context, tenant
// and token bucket have room for. Errors: kContextLengthExceeded.
Result<int> answer_tokens(const TenantLimits& limits, int max_context, std::size_t prompt_tokens,
                          std::optional<int> asked_for) {
  const auto room =
      static_cast<std::int64_t>(max_context) - static_cast<std::int64_t>(prompt_tokens);
  if (room < asked_for.value_or(1)) {
    return context_exceeded(max_context, prompt_tokens, asked_for);
  }
  std::int64_t tokens = std::min(room, limits.max_output_tokens);
  if (asked_for) return static_cast<int>(std::min<std::int64_t>(tokens, *asked_for));
  const auto burst = limits.token_burst() - static_cast<std::int64_t>(prompt_tokens);
  return static_cast<int>(std::max<std::int64_t>(std::min(tokens, burst), 1));
}

// Who may share cached prefixes: the tenant's own requests. Unknown to everyone outside.
std::uint64_t cache_salt(const Platform& platform, const TenantId& tenant) {
  const auto mac = hmac_sha256(platform.salt_key, tenant.str());
  std::uint64_t salt = 0;
  std::memcpy(&salt, mac.data(), sizeof salt);
  return salt;
}

std::uint64_t seed_of(const InferenceOptions& options) {
  if (options.seed) return static_cast<std::uint64_t>(*options.seed);
  std::uint64_t seed = 0;
  random_bytes(&seed, sizeof seed);
  return seed;
}

AnswerIdentity identity_of(const Platform& platform, const Call& call,
                           const PreparedInference& prepared) {
  using std::chrono::floor, std::chrono::seconds;
  const std::string prefix = prepared.kind == AnswerKind::kChat ? "chatcmpl-" : "cmpl-";
  return {.id = prefix + call.id.str().substr(call.id.str().find('_') + 1),
          .created = floor<seconds>(call.received_wall).time_since_epoch().count(),
          .model = prepared.model.name,
          .system_fingerprint =
              system_fingerprint(platform.model.packed->digest(), prepared.model.adapter)};
}

std::unique_ptr<AnswerFormat> format_of(const Platform& platform, const Call& call,
                                        const PreparedInference& prepared) {
  const auto make = prepared.kind == AnswerKind::kChat ? make_chat_format : make_completion_format;
  return make(identity_of(platform, call, prepared), *platform.model.tokenizer,
              prepared.options.include_usage, prepared.options.sampling.num_logprobs >= 0);
}

UsageRecord record_of(const Call& call, const ResolvedModel& model) {
  UsageRecord record;
  record.request = call.id;
  record.tenant = call.caller.tenant;
  record.key = call.caller.key;
  record.adapter = model.adapter ? to_hex(*model.adapter) : "";
  record.model = model.name;
  record.started = call.received_wall;
  return record;
}

}  // namespace

Result<ResolvedModel> resolve_model(Platform& platform, const Caller& caller,
                                    const std::string& model) {
  if (model == platform.model.name()) return ResolvedModel{model, std::nullopt};
  if (model.size() > kMaxModelChars) return model_not_found(model.substr(0, kMaxModelChars));
  auto resolved = platform.adapters->resolve(caller.tenant, model);
  if (!resolved) return resolved.error();
  return ResolvedModel{resolved->display_name, resolved->digest};
}

Result<Reply> begin_generation(Platform& platform, Call& call, Permit permit,
                               PreparedInference prepared) {
  GenerationPlan plan;
  std::int64_t total_tokens = 0;
  const std::uint64_t seed = seed_of(prepared.options);
  for (auto& prompt : prepared.prompts) {
    const auto max_tokens = answer_tokens(call.caller.limits, platform.engine->max_context(),
                                          prompt.size(), prepared.options.max_tokens);
    if (!max_tokens) {
      const char* const param = prepared.kind == AnswerKind::kChat ? "messages" : "prompt";
      return Error{max_tokens.error().code, max_tokens.error().message, param};
    }
    total_tokens += static_cast<std::int64_t>(prompt.size()) + *max_tokens;
    GenerationRequest request{.prompt = std::move(prompt),
                              .sampling = prepared.options.sampling,
                              .adapter = prepared.model.adapter,
                              .tenant = call.caller.tenant.str(),
                              .cache_salt = cache_salt(platform, call.caller.tenant)};
    request.sampling.max_tokens = *max_tokens;
    request.sampling.seed = seed;
    plan.requests.push_back(std::move(request));
  }
  if (auto reserved = permit.reserve(total_tokens, platform.clock.steady_now()); !reserved) {
    return Reply(refusal_response(reserved.error(), call.id));
  }
  // Only now: a request that is refused starts no load and evicts nobody.
  if (prepared.model.adapter) platform.host_cache->prefetch(*prepared.model.adapter);
  plan.format = format_of(platform, call, prepared);
  plan.stop = std::move(prepared.options.stop);
  plan.stream = prepared.options.stream;
  plan.record = record_of(call, prepared.model);
  plan.permit = std::move(permit);
  plan.received_at = call.received_at;
  if (prepared.model.adapter) {
    plan.headers.emplace_back("x-adapter-version", prepared.model.name);
    plan.headers.emplace_back("x-adapter-sha256", to_hex(*prepared.model.adapter));
  }
  const GenerationServices services{*platform.engine, *platform.ledger, platform.metrics,
                                    platform.clock};
  return Reply(std::make_unique<Generation>(services, *platform.model.tokenizer, std::move(plan)));
}

std::string system_fingerprint(const BaseDigest& base,
                               const std::optional<AdapterDigest>& adapter) {
  Sha256 hash;
  hash.update(kVersion);
  hash.update(std::as_bytes(std::span(base.bytes)));
  if (adapter) hash.update(std::as_bytes(std::span(adapter->bytes)));
  return "fp_" + to_hex(std::span<const std::uint8_t>(hash.finish())).substr(0, 12);
}

}  // namespace tessera
