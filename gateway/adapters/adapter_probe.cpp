#include "gateway/adapters/adapter_probe.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "storage/ids.hpp"

namespace tessera {
namespace {

// Of different kinds, because an adapter may know only one: prose, a question, code, figures.
constexpr std::array<std::string_view, kNumProbePrompts> kTexts = {
    "The weather in the mountains changed quickly that afternoon, and",
    "Question: What is the capital of France?\nAnswer:",
    "def add(first, second):\n    return",
    "Invoice 2041: 3 items, total 57.90 EUR, due on",
};

std::vector<GenerationRequest> requests_for(const std::vector<std::vector<TokenId>>& prompts,
                                            const std::optional<AdapterDigest>& adapter,
                                            const TenantId& tenant, std::uint64_t salt) {
  std::vector<GenerationRequest> requests;
  for (const std::vector<TokenId>& prompt : prompts) {
    GenerationRequest request{.prompt = prompt, .adapter = adapter, .tenant = tenant.str()};
    request.cache_salt = salt;
    request.sampling = {
        .temperature = 0.0F, .max_tokens = kProbeTokens, .keep_logits = true, .ignore_eos = true};
    requests.push_back(std::move(request));
  }
  return requests;
}

bool is_finite(const EngineAnswer& answer) {
  return std::ranges::all_of(answer.tokens, [](const GeneratedToken& token) {
    return std::ranges::all_of(token.logits, [](float logit) { return std::isfinite(logit); });
  });
}

void compare(std::span<const float> base, std::span<const float> adapted, ProbeResult& result) {
  double change = 0.0;
  double whole = 0.0;
  for (std::size_t i = 0; i < std::min(base.size(), adapted.size()); ++i) {
    const double delta = double{adapted[i]} - double{base[i]};
    change += delta * delta;
    whole += double{base[i]} * double{base[i]};
    result.max_logit_delta = std::max(result.max_logit_delta, std::abs(delta));
    result.max_logit = std::max(result.max_logit, std::abs(double{adapted[i]}));
  }
  if (whole > 0.0) {
    result.relative_change = std::max(result.relative_change, std::sqrt(change / whole));
  }
}

void compare(const EngineAnswer& base, const EngineAnswer& adapted, ProbeResult& result) {
  result.identical_to_base &= base.tokens == adapted.tokens;
  const std::size_t size = std::min(base.tokens.size(), adapted.tokens.size());
  for (std::size_t i = 0; i < size; ++i) {
    compare(base.tokens[i].logits, adapted.tokens[i].logits, result);
    if (base.tokens[i].id == adapted.tokens[i].id) continue;
    ++result.changed_answers;
    return;  // behind this they answer different texts
  }
}

// An engine that is at fault itself is no property of the adapter.
Result<void> check_base(const std::vector<EngineAnswer>& answers) {
  for (const EngineAnswer& answer : answers) {
    const bool ended = answer.finish.reason == FinishReason::kLength ||
                       answer.finish.reason == FinishReason::kStop;
    if (!ended) return Error{Code::kServerIsOverloaded, "The base model did not answer."};
  }
  return {};
}

void append(std::vector<TokenId>& prompt, std::span<const TokenId> ids) {
  prompt.insert(prompt.end(), ids.begin(), ids.end());
}

// Some of the rows that the adapter replaces, from all over them.
std::vector<TokenId> sample_of(std::span<const TokenId> ids) {
  std::vector<TokenId> sample;
  const std::size_t count = std::min(ids.size(), kMaxProbeRows);
  for (std::size_t i = 0; i < count; ++i) sample.push_back(ids[i * ids.size() / count]);
  return sample;
}

}  // namespace

AdapterProbe::AdapterProbe(Engine& engine, const ServedModel& model, const Clock& clock)
    : engine_(engine), clock_(clock) {
  random_bytes(&salt_, sizeof salt_);
  for (const std::string_view text : kTexts) {
    auto ids = model.tokenizer->encode(text, {.parse_special = false, .add_special = true});
    if (ids.size() > kMaxProbePromptTokens) ids.resize(kMaxProbePromptTokens);
    if (!ids.empty()) prompts_.push_back(std::move(ids));
  }
}

std::vector<std::vector<TokenId>> AdapterProbe::prompts_for(const PackedAdapter& adapter) const {
  std::vector<std::vector<TokenId>> prompts = prompts_;
  const auto rows = sample_of(adapter.view().embed_rows.ids);
  // Room for the answer, in a model of short context.
  const int room = engine_.max_context() - kProbeTokens -
                   static_cast<int>(rows.size() + adapter.invocation().size());
  for (std::vector<TokenId>& prompt : prompts) {
    if (static_cast<int>(prompt.size()) > room) {
      prompt.resize(static_cast<std::size_t>(std::max(room, 0)));
    }
    append(prompt, rows);
    append(prompt, adapter.invocation());
  }
  std::erase_if(prompts, [](const auto& prompt) { return prompt.empty(); });
  return prompts;
}

std::vector<EngineAnswer> AdapterProbe::known_base() const {
  const std::lock_guard lock(mutex_);
  return known_base_;
}

// Both answers to each prompt. The base's to the prompts that most adapters are tried out with are
// asked for once: they would be the same bits again.
Result<AdapterProbe::Answers> AdapterProbe::ask(const std::vector<std::vector<TokenId>>& prompts,
                                                const ProbeRequest& request,
                                                const AnswerPatience& patience) const {
  const bool is_usual = prompts == prompts_;
  Answers result;
  if (is_usual) result.base = known_base();
  std::vector<GenerationRequest> requests;
  if (result.base.empty()) requests = requests_for(prompts, std::nullopt, request.tenant, salt_);
  std::ranges::move(requests_for(prompts, request.digest, request.tenant, salt_),
                    std::back_inserter(requests));
  auto answers = answer_all(engine_, std::move(requests), clock_, patience);
  if (!answers) return answers.error();
  const auto adapted = answers->end() - static_cast<std::ptrdiff_t>(prompts.size());
  result.adapted.assign(adapted, answers->end());
  if (!result.base.empty()) return result;
  result.base.assign(answers->begin(), adapted);
  if (auto sound = check_base(result.base); !sound) return sound.error();
  const std::lock_guard lock(mutex_);
  if (is_usual) known_base_ = result.base;
  return result;
}

Result<ProbeResult> AdapterProbe::run(const ProbeRequest& request,
                                      const AnswerPatience& patience) const {
  const auto prompts = prompts_for(*request.adapter);
  const auto answers = ask(prompts, request, patience);
  if (!answers) return answers.error();
  ProbeResult result{.prompts = static_cast<int>(prompts.size()),
                     .identical_to_base = !prompts.empty()};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const EngineAnswer& adapted = answers->adapted[i];
    const Finish& finish = adapted.finish;
    if (finish.reason == FinishReason::kCancelled ||
        (finish.reason == FinishReason::kError && finish.code != Code::kInternalError)) {
      return Error{finish.code, finish.message};  // it could not be loaded, or we are stopping
    }
    result.not_finite |= finish.reason == FinishReason::kError || !is_finite(adapted);
    compare(answers->base[i], adapted, result);
  }
  return result;
}

Findings findings_of(const ProbeResult& result, bool allow_noop) {
  Findings findings;
  if (result.not_finite) {
    findings.push_back({.code = FindingCode::kProbeNotFinite,
                        .message = "Tried out on a few prompts, the adapter gives logits that are "
                                   "not numbers."});
  }
  if (result.identical_to_base && !result.not_finite) {
    findings.push_back(
        {.code = FindingCode::kAdapterHasNoEffect,
         .severity = allow_noop ? Severity::kWarning : Severity::kError,
         .message = "Tried out on a few prompts, the adapter answers exactly as the base does. If "
                    "that is meant, upload it with allow_noop."});
  }
  return findings;
}

}  // namespace tessera
