// adapter_probe.hpp — an adapter tried out before anyone is served by it (peft-adapters.md 4.4).
//
// A few fixed prompts are answered by the base and by the adapter on the engine that will serve it,
// greedily, and every raw logit is looked at. Answers are bit-identical alone and in company, so
// they can be compared exactly: an adapter whose logits are the base's at every position changes
// nothing, and one that gives a NaN would give it to its tenant's users. How far the logits moved,
// as numbers and in norm, is told in the report.
//
// What a probe computes (kNumProbePrompts times kMaxProbePromptTokens + kProbeTokens, a few more
// for rows and invocations) is the server's own expense; a tenant's checks are the tenant's
// (acceptance.hpp).
//
// Where an adapter acts in certain places only, the prompts have them: the tokens that activate it,
// and tokens whose rows it replaces.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "adapters/finding.hpp"
#include "adapters/packed_adapter.hpp"
#include "engine/engine.hpp"
#include "gateway/adapters/engine_answers.hpp"
#include "gateway/served_model.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr int kNumProbePrompts = 4;
inline constexpr int kProbeTokens = 4;  // generated for each
inline constexpr std::size_t kMaxProbePromptTokens = 16;
inline constexpr std::size_t kMaxProbeRows = 16;  // replaced rows that a prompt brings in

struct ProbeResult {
  int prompts = 0;
  bool identical_to_base = false;
  bool not_finite = false;
  // Of all logits at positions behind the same text.
  double max_logit_delta = 0.0;  // the largest difference of one, in magnitude
  double max_logit = 0.0;        // the adapter's largest, in magnitude
  // |adapter's - base's| / |base's|, Euclidean, of the worst position.
  double relative_change = 0.0;
  int changed_answers = 0;  // prompts that the adapter answers with other tokens
};

struct ProbeRequest {
  AdapterDigest digest;
  std::shared_ptr<const PackedAdapter> adapter;
  TenantId tenant;  // whose turns it takes
};

// Thread-safe. `engine`, `model` and `clock` outlive it.
class AdapterProbe {
 public:
  AdapterProbe(Engine& engine, const ServedModel& model, const Clock& clock);

  // The adapter's pages are in the HostCache. Errors: those of answer_all().
  Result<ProbeResult> run(const ProbeRequest& request, const AnswerPatience& patience) const;

  // The prompts that this adapter is tried out with.
  std::vector<std::vector<TokenId>> prompts_for(const PackedAdapter& adapter) const;

 private:
  struct Answers {
    std::vector<EngineAnswer> base, adapted;  // one of each to each prompt
  };
  Result<Answers> ask(const std::vector<std::vector<TokenId>>& prompts, const ProbeRequest& request,
                      const AnswerPatience& patience) const;
  std::vector<EngineAnswer> known_base() const;

  Engine& engine_;
  const Clock& clock_;
  std::vector<std::vector<TokenId>> prompts_;
  std::uint64_t salt_ = 0;  // of this process
  mutable std::mutex mutex_;
  mutable std::vector<EngineAnswer> known_base_;  // to prompts_; empty until they were asked
};

// What the probe says about an adapter, as findings.
Findings findings_of(const ProbeResult& result, bool allow_noop);

}  // namespace tessera
