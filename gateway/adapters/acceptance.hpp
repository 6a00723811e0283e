// acceptance.hpp — a tenant's own checks, which a version has to pass before it serves.
//
//   {"checks": [{"name": "greets",
//                "messages": [{"role": "user", "content": "Hello"}],    or "prompt": "…"
//                "max_tokens": 64, "temperature": 0, "seed": 1,
//                "expect": {"contains": "Acme"}}]}
//
// `expect` has exactly one of `contains` (a substring), `regex` (RE2's syntax, found anywhere in
// the answer; linear time whatever the pattern) and `json_schema` (the answer, without white space
// around it, is a JSON text that the schema allows: decided by the recognizer that guided answers
// are made with, members in any order). The answer is what a client would see as content.
//
// A check that fails makes the version `failed`. What the checks compute is the tenant's: reserved
// of its limits before the upload begins, and charged as it was used (adapter_intake.hpp). It is
// bounded by kMaxAcceptanceChecks, kMaxAcceptanceBytes of prompts and kMaxAcceptanceTokens of each
// answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "adapters/finding.hpp"
#include "gateway/adapters/engine_answers.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/choice_text.hpp"
#include "gateway/served_model.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kMaxAcceptanceChecks = 32;
inline constexpr int kMaxAcceptanceTokens = 512;  // of an answer
inline constexpr int kDefaultAcceptanceTokens = 64;
inline constexpr std::size_t kMaxCheckNameChars = 64;
inline constexpr std::size_t kMaxExpectedChars = 8 * 1024;
inline constexpr std::size_t kMaxShownAnswerBytes = 1024;  // in the report

// What an answer has to be. Immutable but for AcceptanceSchema's tables: used by one thread at a
// time.
class Expectation {
 public:
  virtual ~Expectation() = default;
  // Why `answer` is not it; nothing if it is.
  virtual std::optional<std::string> refute(std::string_view answer) = 0;
};

// Errors: kInvalidValue, kInvalidRegex, kInvalidJsonSchema; param is `path` and the member.
Result<std::unique_ptr<Expectation>> expect_substring(std::string text);
Result<std::unique_ptr<Expectation>> expect_regex(const std::string& pattern,
                                                  const std::string& path);
Result<std::unique_ptr<Expectation>> expect_json(const std::string& schema,
                                                 const std::string& path);

struct AcceptanceCheck {
  std::string name;
  std::vector<TokenId> prompt;
  std::optional<AnswerReading> reading = {};  // of a conversation
  int max_tokens = kDefaultAcceptanceTokens;
  float temperature = 0.0F;
  std::uint64_t seed = 0;
  std::unique_ptr<Expectation> expectation;
};

// Reads checks, strictly. Errors: those of a chat or completion request; param is the path. `now`
// is for templates that tell the date.
Result<std::vector<AcceptanceCheck>> parse_acceptance(std::string_view json,
                                                      const ServedModel& model, WallTime now);

struct CheckOutcome {
  std::string name;
  bool passed = false;
  std::string reason = {};  // why not
  std::string answer = {};  // its beginning
};

struct AcceptanceResult {
  std::vector<CheckOutcome> checks = {};
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;

  bool passed() const;
};

// Answers all checks with the adapter and judges them. `spent` is what that took, also when it
// fails half-way; its checks are empty then. Errors: those of answer_all().
Result<AcceptanceResult> run_acceptance(Engine& engine, const ServedModel& model,
                                        std::vector<AcceptanceCheck>& checks,
                                        const AdapterDigest& adapter, const TenantId& tenant,
                                        std::uint64_t cache_salt, const Clock& clock,
                                        const AnswerPatience& patience, AcceptanceResult& spent);

// kAcceptanceFailed, one for each check that failed.
Findings findings_of(const AcceptanceResult& result);

nlohmann::ordered_json to_json(const AcceptanceResult& result);

}  // namespace tessera
