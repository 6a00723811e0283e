#include "gateway/inference/inference.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "engine/guided/openai_strict.hpp"
#include "gateway/api/rate_limits.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/inference/answer_length.hpp"
#include "gateway/inference/constraint_compiler.hpp"
#include "gateway/version.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxModelChars = 256;

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

// The request's own id, under another prefix.
std::string id_suffix(const Call& call) {
  return call.id.str().substr(call.id.str().find('_') + 1);
}

AnswerIdentity identity_of(const Platform& platform, const Call& call,
                           const PreparedInference& prepared) {
  using std::chrono::floor, std::chrono::seconds;
  const std::string prefix = prepared.kind == AnswerKind::kChat ? "chatcmpl-" : "cmpl-";
  return {.id = prefix + id_suffix(call),
          .created = floor<seconds>(call.received_wall).time_since_epoch().count(),
          .model = prepared.model.name,
          .system_fingerprint =
              system_fingerprint(platform.model.packed->digest(), prepared.model.adapter),
          .service_tier = std::string(to_string(prepared.options.tier)),
          .obfuscated = prepared.options.obfuscate};
}

// What the object of the Responses API says besides what the request had to say.
ordered_json response_of(const AnswerIdentity& identity, const Call& call,
                         const PreparedInference& prepared) {
  ordered_json response = prepared.response;
  response["id"] = "resp_" + id_suffix(call);
  response["created_at"] = identity.created;
  response["model"] = identity.model;
  response["service_tier"] = identity.service_tier;
  return response;
}

std::unique_ptr<AnswerFormat> format_of(const Platform& platform, const Call& call,
                                        const PreparedInference& prepared) {
  AnswerIdentity identity = identity_of(platform, call, prepared);
  const Tokenizer& tokenizer = *platform.model.tokenizer;
  const bool records = prepared.options.sampling.num_logprobs >= 0;
  const bool include_usage = prepared.options.include_usage;
  switch (prepared.kind) {
    case AnswerKind::kChat:
      return make_chat_format(std::move(identity), tokenizer, include_usage, records);
    case AnswerKind::kText:
      return make_completion_format(std::move(identity), tokenizer, include_usage, records);
    case AnswerKind::kEmbedding:
      return make_embedding_format(std::move(identity.model), prepared.embedding);
    case AnswerKind::kResponse:
      return make_response_format(response_of(identity, call, prepared), tokenizer, records,
                                  prepared.options.obfuscate);
  }
  return nullptr;
}

UsageRecord record_of(const Call& call, const PreparedInference& prepared) {
  const ResolvedModel& model = prepared.model;
  UsageRecord record;
  record.request = call.id;
  record.tenant = call.caller.tenant;
  record.key = call.caller.key;
  record.adapter = model.adapter ? to_hex(*model.adapter) : "";
  record.model = model.name;
  record.started = call.received_wall;
  if (prepared.kind == AnswerKind::kEmbedding) record.operation = "embeddings";
  if (call.trace) record.trace = call.trace->trace_id;
  if (prepared.options.tier != ServiceTier::kDefault) {
    record.service_tier = to_string(prepared.options.tier);
  }
  return record;
}

// "support-bot" of "support-bot@7": what permissions, limits and prices call a model.
std::string_view unpinned_name(std::string_view model) {
  return model.substr(0, model.find_first_of("@:"));
}

// An adapter without a price of its own costs what its base does.
std::string_view priced_name(const Platform& platform, const ResolvedModel& model) {
  const std::string_view name = unpinned_name(model.name);
  return platform.prices.names(name) ? name : platform.model.name();
}

// What a key may have of what it asks for: else the default tier, or the first that it may have.
ServiceTier permitted_tier(const Caller& caller, ServiceTier asked) {
  if (!caller.key_policy || caller.key_policy->allowed_tiers.empty()) return asked;
  const auto& allowed = caller.key_policy->allowed_tiers;
  for (const ServiceTier tier : {asked, ServiceTier::kDefault}) {
    if (std::ranges::find(allowed, to_string(tier)) != allowed.end()) return tier;
  }
  return service_tier_from_string(allowed.front()).value_or(ServiceTier::kDefault);
}

// Who asks for none gets his project's.
ServiceTier asked_tier(const Caller& caller, const InferenceOptions& options) {
  if (options.names_tier || !caller.tenant_policy) return options.tier;
  return service_tier_from_string(caller.tenant_policy->tier).value_or(options.tier);
}

// A tier that the model is not sold in is served, and paid, as the default one.
ServiceTier tier_of(const Platform& platform, const Caller& caller,
                    const PreparedInference& prepared) {
  const ServiceTier asked = permitted_tier(caller, asked_tier(caller, prepared.options));
  const std::string_view name = priced_name(platform, prepared.model);
  return platform.prices.sells(name, to_string(asked)) ? asked : ServiceTier::kDefault;
}

int queue_rank(ServiceTier tier) {
  return tier == ServiceTier::kPriority ? -1 : tier == ServiceTier::kFlex ? 1 : 0;
}

int weight_of(const Caller& caller) {
  const TenantPolicy* const policy = caller.tenant_policy.get();
  return policy && policy->weight ? static_cast<int>(*policy->weight) : 1;
}

const char* prompt_param(AnswerKind kind) {
  switch (kind) {
    case AnswerKind::kChat:
      return "messages";
    case AnswerKind::kText:
      return "prompt";
    case AnswerKind::kEmbedding:
    case AnswerKind::kResponse:
      return "input";
  }
  return "";
}

GenerationRequest request_of(const Platform& platform, const Call& call,
                             const PreparedInference& prepared, std::vector<TokenId> prompt) {
  GenerationRequest request{.prompt = std::move(prompt),
                            .sampling = prepared.options.sampling,
                            .adapter = prepared.model.adapter,
                            .mix = prepared.model.mix,
                            .tenant = call.caller.tenant.str(),
                            .weight = weight_of(call.caller),
                            .queue_rank = queue_rank(prepared.options.tier),
                            .cache_salt = cache_salt(platform, call.caller.tenant),
                            .constraint = prepared.constraint};
  request.complete_within_max_tokens =
      prepared.constraint && prepared.options.format.rules.complete_within_max_tokens;
  request.prompt_output = prepared.prompt_output;
  return request;
}

Result<void> check_choices(const PreparedInference& prepared) {
  if (prepared.kind == AnswerKind::kEmbedding) return {};  // they wait for their turn
  const InferenceOptions& options = prepared.options;
  if (std::ssize(prepared.prompts) * options.best_of <= kMaxSequences) return {};
  const std::string param = options.best_of > options.num_choices ? "best_of" : "n";
  return Error{
      Code::kInvalidValue,
      "The prompts times '" + param + "' are more than " + std::to_string(kMaxSequences) + ".",
      param};
}

// The prompt, if it is to stand before the answer.
void add_echo(const Platform& platform, const PreparedInference& prepared,
              const std::vector<TokenId>& prompt, GenerationPlan& plan) {
  if (prepared.echoes.empty()) return;
  plan.echoes.emplace_back(*platform.model.tokenizer, prepared.echoes[plan.echoes.size()], prompt,
                           plan.keep_records);
}

// The choices of one prompt, each with a seed of its own. The first tells the prompt's
// log-probabilities for all of them.
void add_choices(const PreparedInference& prepared, GenerationRequest request, std::uint64_t seed,
                 GenerationPlan& plan) {
  const bool ranked = prepared.options.best_of > prepared.options.num_choices;
  if (ranked && !plan.keep_records) request.sampling.num_logprobs = 0;
  for (int choice = 0; choice < prepared.options.best_of; ++choice) {
    request.sampling.seed = seed + static_cast<std::uint64_t>(choice);
    GenerationRequest& added = plan.requests.emplace_back(request);
    const bool scores = choice == 0 && !prepared.echoes.empty() && plan.keep_records;
    if (scores) added.prompt_output = PromptOutput::kLogprobs;
  }
}

// The special tokens that are text in the answer, by which its vocabulary is chosen.
std::vector<TokenId> marks_of(const PreparedInference& prepared) {
  return prepared.reading ? prepared.reading->marks : std::vector<TokenId>();
}

HttpResponse compiler_busy(std::chrono::nanoseconds wait, const RequestId& request) {
  HttpResponse response = error_response(
      {Code::kRateLimitExceeded,
       "New schemas, patterns and grammars of this project take more of the server's time than a "
       "project may use; try again later, or use those that were used before."},
      request);
  add_retry_after(response, wait);
  return response;
}

// A request whose constraint is being compiled.
struct Compiling {
  Platform& platform;
  Call& call;
  Permit permit;
  PreparedInference prepared;
  std::unique_ptr<CompileLimits::Ticket> ticket;
};

Reply compile_later(std::shared_ptr<Compiling> compiling, ConstraintCompiler::Budget budget);

// Compiles within `budget`, and goes on: with the generation, or with the refusal; or once more.
Result<Reply> compile_now(const std::shared_ptr<Compiling>& compiling,
                          ConstraintCompiler::Budget budget) {
  using Budget = ConstraintCompiler::Budget;
  Platform& platform = compiling->platform;
  PreparedInference& prepared = compiling->prepared;
  const AskedConstraint& asked = *prepared.options.format.asked;
  auto compiled =
      platform.constraints->compile(marks_of(prepared), asked.spec, budget, *compiling->ticket);
  if (!compiled) {
    return Error{compiled.error().code, compiled.error().message, asked.place.param};
  }
  if (const auto* error = std::get_if<guided::CompileError>(&*compiled)) {
    const bool wants_more = error->kind == guided::CompileError::Kind::kTooComplex;
    if (budget == Budget::kQuick && wants_more) return compile_later(compiling, Budget::kWhole);
    return Reply(constraint_refusal(asked, *error, compiling->call.id));
  }
  compiling->ticket.reset();
  prepared.constraint = std::get<std::shared_ptr<guided::Constraint>>(*std::move(compiled));
  return begin_generation(platform, compiling->call, std::move(compiling->permit),
                          std::move(prepared));
}

Reply compile_later(std::shared_ptr<Compiling> compiling, ConstraintCompiler::Budget budget) {
  Workers& workers = compiling->platform.constraints->workers(budget);
  return std::make_unique<Deferred>(Deferred{workers, [compiling = std::move(compiling), budget] {
                                               return compile_now(compiling, budget);
                                             }});
}

}  // namespace

std::string_view model_family(const Platform& platform, const Caller& caller,
                              std::string_view model) {
  if (model == platform.model.name()) return model;
  const auto named = parse_model_name(model, platform.model.name(), caller.tenant);
  return named ? named->adapter : model;
}

Result<ResolvedModel> resolve_model(Platform& platform, const Caller& caller,
                                    const std::string& model, const StickyKeys& keys) {
  const std::string_view family = model_family(platform, caller, model);
  if (!caller.may_use_model(family)) {
    return Error{Code::kModelNotPermitted,
                 "This key or its project may not use the model '" +
                     std::string(family).substr(0, kMaxModelChars) + "'.",
                 "model"};
  }
  if (model == platform.model.name()) return ResolvedModel{.name = model};
  if (model.size() > kMaxModelChars) return model_not_found(model.substr(0, kMaxModelChars));
  auto resolved = platform.adapters->resolve(caller.tenant, model, keys);
  if (!resolved) return resolved.error();
  return ResolvedModel{.name = resolved->display_name,
                       .adapter = resolved->digest,
                       .version = resolved->display_name,
                       .is_plain = resolved->is_plain,
                       .pins = {std::move(resolved->pin)}};
}

Result<Reply> begin_constrained(Platform& platform, Call& call, Permit permit,
                                PreparedInference prepared) {
  const OutputFormat& format = prepared.options.format;
  if (!format.asked)
    return begin_generation(platform, call, std::move(permit), std::move(prepared));
  const AskedConstraint& asked = *format.asked;
  if (platform.config.openai_strict && format.openai_strict && !asked.spec.source.empty()) {
    guided::CompileError error{.kind = guided::CompileError::Kind::kUnsupported,
                               .findings = guided::check_openai_strict(asked.spec.source)};
    if (!error.findings.empty()) return Reply(constraint_refusal(asked, error, call.id));
  }
  prepared.constraint = platform.constraints->find(marks_of(prepared), asked.spec);
  if (prepared.constraint) {
    return begin_generation(platform, call, std::move(permit), std::move(prepared));
  }
  auto entered = platform.constraints->enter(call.caller.tenant, platform.clock.steady_now());
  if (const auto* wait = std::get_if<std::chrono::nanoseconds>(&entered)) {
    return Reply(compiler_busy(*wait, call.id));
  }
  const auto compiling = std::make_shared<Compiling>(
      Compiling{platform, call, std::move(permit), std::move(prepared),
                std::get<std::unique_ptr<CompileLimits::Ticket>>(std::move(entered))});
  return compile_later(compiling, ConstraintCompiler::Budget::kQuick);
}

Result<Reply> begin_generation(Platform& platform, Call& call, Permit permit,
                               PreparedInference prepared) {
  if (auto checked = check_choices(prepared); !checked) return checked.error();
  prepared.options.tier = tier_of(platform, call.caller, prepared);
  GenerationPlan plan;
  plan.price =
      platform.prices.of(priced_name(platform, prepared.model), to_string(prepared.options.tier));
  plan.choices_per_prompt = prepared.options.best_of;
  plan.told_per_prompt = prepared.options.num_choices;
  plan.keep_records = prepared.options.sampling.num_logprobs >= 0;
  Demand most;
  const std::uint64_t seed = seed_of(prepared.options);
  const ContextRoom room{.max_context = platform.engine->max_context(),
                         .short_positions = platform.model.packed->spec().short_positions()};
  for (auto& prompt : prepared.prompts) {
    const auto max_tokens =
        answer_tokens(call.caller.limits, room, prompt.size(), prepared.options.max_tokens);
    if (!max_tokens) {
      return Error{max_tokens.error().code, max_tokens.error().message,
                   prompt_param(prepared.kind)};
    }
    // A prompt is computed, and paid for, once for all of its choices.
    const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
    const std::int64_t answers = std::int64_t{*max_tokens} * prepared.options.best_of;
    most.tokens += prompt_tokens + answers;
    most.cost += plan.price.at_most(prompt_tokens, answers);
    add_echo(platform, prepared, prompt, plan);
    GenerationRequest request = request_of(platform, call, prepared, std::move(prompt));
    request.sampling.max_tokens = *max_tokens;
    add_choices(prepared, std::move(request), seed, plan);
  }
  // One of them stands for the request in its project's queue; the others come with it.
  if (const auto& max_queue = call.caller.limits.max_queue) {
    plan.requests.front().max_queue = static_cast<int>(*max_queue);
  }
  if (call.key_turn) most.cost = call.key_turn->due(most.cost);
  const auto reserved =
      permit.reserve(most, unpinned_name(prepared.model.name), now_of(platform.clock));
  if (!reserved) return Reply(refusal_response(reserved.error(), call.id));
  plan.format = format_of(platform, call, prepared);
  plan.stop = std::move(prepared.options.stop);
  plan.reading = std::move(prepared.reading);
  plan.stream = prepared.options.stream;
  plan.record = record_of(call, prepared);
  plan.permit = std::move(permit);
  plan.pins = std::move(prepared.model.pins);
  plan.received_at = call.received_at;
  plan.key_turn = call.key_turn;
  if (plan.key_turn && plan.key_turn->is_paid()) {
    plan.headers.emplace_back("Idempotent-Uncharged", "true");
  }
  if (prepared.model.adapter) {
    plan.headers.emplace_back("x-adapter-version", prepared.model.version);
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
