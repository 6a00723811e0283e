#include "gateway/adapters/acceptance.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "gateway/inference/chat_encoding.hpp"
#include "gateway/inference/chat_messages.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Error one_of(const std::string& path, const std::string& members) {
  return {Code::kInvalidValue, "'" + path + "' must have exactly one of " + members + ".", path};
}

Result<std::unique_ptr<Expectation>> parse_expectation(const Json& json, const std::string& path) {
  Fields fields(json, path + ".");
  std::string substring;
  std::string pattern;
  fields.text("contains", kMaxExpectedChars, substring);
  fields.text("regex", kMaxExpectedChars, pattern);
  const Json* const schema = fields.any("json_schema");
  if (auto read = fields.finish(); !read) return read.error();
  const int given = (substring.empty() ? 0 : 1) + (pattern.empty() ? 0 : 1) + (schema ? 1 : 0);
  if (given != 1) return one_of(path, "'contains', 'regex' and 'json_schema', not empty");
  if (!substring.empty()) return expect_substring(std::move(substring));
  if (!pattern.empty()) return expect_regex(pattern, path + ".regex");
  if (!schema->is_object() && !schema->is_boolean()) {
    return Error{Code::kInvalidValue, "'" + path + ".json_schema' must be a JSON Schema.",
                 path + ".json_schema"};
  }
  return expect_json(to_text(*schema), path + ".json_schema");
}

// The tokens that a check's answer follows, and how it is to be read.
Result<void> read_prompt(const Json* messages, const std::string& text, const std::string& path,
                         const ServedModel& model, WallTime now, AcceptanceCheck& check) {
  if ((messages != nullptr) != text.empty()) return one_of(path, "'messages' and 'prompt'");
  if (messages == nullptr) {
    check.prompt = model.tokenizer->encode(text, {.parse_special = true, .add_special = true});
    return {};
  }
  auto read = read_messages(*messages);
  if (!read) return Error{read.error().code, read.error().message, path + "." + read.error().param};
  Conversation conversation;
  conversation.messages = *std::move(read);
  auto encoded = encode_chat(model, conversation, now);
  if (!encoded) {
    return Error{encoded.error().code, encoded.error().message, path + "." + encoded.error().param};
  }
  check.reading = reading_of(model, conversation, encoded->text);
  check.prompt = std::move(encoded->ids);
  return {};
}

Result<AcceptanceCheck> parse_check(const Json& json, const std::string& path,
                                    const ServedModel& model, WallTime now) {
  AcceptanceCheck check;
  Fields fields(json, path + ".");
  std::string prompt;
  std::optional<std::int64_t> max_tokens;
  std::optional<std::int64_t> seed;
  double temperature = 0.0;
  fields.text("name", kMaxCheckNameChars, check.name);
  fields.text("prompt", kMaxAcceptanceBytes, prompt);
  const Json* const messages = fields.any("messages");
  fields.integer("max_tokens", {1, kMaxAcceptanceTokens}, max_tokens);
  fields.integer("seed", {0, std::numeric_limits<std::int64_t>::max()}, seed);
  fields.number("temperature", {0.0, 2.0}, temperature);
  const Json* const expect = fields.required_any("expect");
  if (auto read = fields.finish(); !read) return read.error();
  check.max_tokens = static_cast<int>(max_tokens.value_or(kDefaultAcceptanceTokens));
  check.seed = static_cast<std::uint64_t>(seed.value_or(0));
  check.temperature = static_cast<float>(temperature);
  if (auto read = read_prompt(messages, prompt, path, model, now, check); !read) {
    return read.error();
  }
  auto expectation = parse_expectation(*expect, path + ".expect");
  if (!expectation) return expectation.error();
  check.expectation = *std::move(expectation);
  return check;
}

GenerationRequest request_for(const AcceptanceCheck& check, const AdapterDigest& adapter,
                              const TenantId& tenant, std::uint64_t salt) {
  GenerationRequest request{.prompt = check.prompt, .adapter = adapter, .tenant = tenant.str()};
  request.cache_salt = salt;
  request.sampling = {
      .temperature = check.temperature, .seed = check.seed, .max_tokens = check.max_tokens};
  return request;
}

// The answer as a client would see it.
std::string content_of(const AcceptanceCheck& check, EngineAnswer& answer,
                       const Tokenizer& tokenizer) {
  ChoiceText text(tokenizer, {}, /*keep_records=*/false, check.reading);
  Piece piece = text.push(std::move(answer.tokens));
  piece.append(text.flush());
  return std::move(piece.text);
}

CheckOutcome judge(AcceptanceCheck& check, EngineAnswer& answer, const Tokenizer& tokenizer) {
  CheckOutcome outcome{.name = check.name};
  if (answer.finish.reason == FinishReason::kError) {
    outcome.reason = answer.finish.message;
    return outcome;
  }
  const std::string text = content_of(check, answer, tokenizer);
  auto fault = check.expectation->refute(text);
  outcome.passed = !fault;
  outcome.reason = std::move(fault).value_or("");
  outcome.answer = text.substr(0, kMaxShownAnswerBytes);
  return outcome;
}

void count(const Finish& finish, AcceptanceResult& spent) {
  spent.prompt_tokens += finish.computed_prompt_tokens;
  spent.cached_tokens += finish.cached_prompt_tokens;
  spent.completion_tokens += finish.generated_tokens;
}

}  // namespace

Result<std::vector<AcceptanceCheck>> parse_acceptance(std::string_view json,
                                                      const ServedModel& model, WallTime now) {
  const auto tree = parse_json(json, {.max_bytes = kMaxAcceptanceBytes});
  if (!tree)
    return Error{tree.error().code, "The acceptance checks: " + tree.error().message, "acceptance"};
  Fields fields(*tree, "acceptance.");
  const Json* const list = fields.required_any("checks");
  if (auto read = fields.finish(); !read) return read.error();
  if (!list->is_array() || list->size() > kMaxAcceptanceChecks) {
    return Error{Code::kInvalidValue,
                 "'acceptance.checks' must be an array of at most " +
                     std::to_string(kMaxAcceptanceChecks) + " checks.",
                 "acceptance.checks"};
  }
  std::vector<AcceptanceCheck> checks;
  for (const Json& item : *list) {
    const std::string number = std::to_string(checks.size());
    auto check = parse_check(item, "acceptance.checks[" + number + "]", model, now);
    if (!check) return check.error();
    if (check->name.empty()) check->name = "check " + number;
    checks.push_back(*std::move(check));
  }
  return checks;
}

bool AcceptanceResult::passed() const {
  return std::ranges::all_of(checks, &CheckOutcome::passed);
}

Result<AcceptanceResult> run_acceptance(Engine& engine, const ServedModel& model,
                                        std::vector<AcceptanceCheck>& checks,
                                        const AdapterDigest& adapter, const TenantId& tenant,
                                        std::uint64_t cache_salt, const Clock& clock,
                                        const AnswerPatience& patience, AcceptanceResult& spent) {
  std::vector<GenerationRequest> requests;
  for (const AcceptanceCheck& check : checks) {
    requests.push_back(request_for(check, adapter, tenant, cache_salt));
  }
  std::vector<EngineAnswer> broken_off;
  auto answers = answer_all(engine, std::move(requests), clock, patience, &broken_off);
  for (const EngineAnswer& answer : answers ? *answers : broken_off) count(answer.finish, spent);
  if (!answers) return answers.error();
  AcceptanceResult result = spent;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if ((*answers)[i].finish.reason == FinishReason::kCancelled) {
      return Error{Code::kServerIsOverloaded, "The server is stopping; try again later."};
    }
    result.checks.push_back(judge(checks[i], (*answers)[i], *model.tokenizer));
  }
  return result;
}

Findings findings_of(const AcceptanceResult& result) {
  Findings findings;
  for (const CheckOutcome& check : result.checks) {
    if (check.passed) continue;
    findings.push_back({.code = FindingCode::kAcceptanceFailed,
                        .about = Finding::About::kField,
                        .subject = check.name,
                        .message = "An acceptance check failed: " + check.reason});
  }
  return findings;
}

Json to_json(const AcceptanceResult& result) {
  Json json;
  json["passed"] = result.passed();
  json["checks"] = Json::array();
  for (const CheckOutcome& check : result.checks) {
    Json item = {{"name", check.name}, {"passed", check.passed}};
    if (!check.passed) item["reason"] = check.reason;
    item["answer"] = check.answer;
    json["checks"].push_back(std::move(item));
  }
  json["usage"] = {{"prompt_tokens", result.prompt_tokens},
                   {"completion_tokens", result.completion_tokens}};
  return json;
}

}  // namespace tessera
