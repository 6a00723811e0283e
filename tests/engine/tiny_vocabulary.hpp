// tiny_vocabulary.hpp — tokens for the tiny model: a printable ASCII character each, and one that
// ends the text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/constraint.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera {

inline constexpr TokenId kTinyEnd = 1;
inline constexpr TokenId kTinyFirst = 2;  // '!'; 0 is unused
inline constexpr int kTinyVocab = 96;

inline std::vector<TokenId> tiny_ids(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) {
    if (c < '!' || c > '~') return {};
    ids.push_back(kTinyFirst + (c - '!'));
  }
  return ids;
}

inline std::string tiny_text(const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) text += static_cast<char>('!' + (id - kTinyFirst));
  return text;
}

inline std::shared_ptr<const guided::Vocabulary> tiny_vocabulary() {
  guided::VocabularyTokens tokens;
  tokens.bytes.resize(kTinyVocab);
  tokens.special.resize(kTinyVocab, false);
  tokens.special[0] = tokens.special[kTinyEnd] = true;
  for (int id = kTinyFirst; id < kTinyVocab; ++id) {
    tokens.bytes[static_cast<std::size_t>(id)] = static_cast<char>('!' + (id - kTinyFirst));
  }
  tokens.end_tokens = {kTinyEnd};
  tokens.vocab_size = kTinyVocab;
  tokens.encode = tiny_ids;
  return std::make_shared<guided::Vocabulary>(std::move(tokens));
}

inline std::shared_ptr<guided::Constraint> tiny_constraint(
    const guided::ConstraintSpec& spec, const guided::GuidedLimits& limits = {}) {
  static const auto vocabulary = tiny_vocabulary();
  auto compiled = guided::compile_constraint(spec, vocabulary, limits);
  if (const auto* error = std::get_if<guided::CompileError>(&compiled)) {
    ADD_FAILURE() << error->findings.front().reason;
    return nullptr;
  }
  return std::get<std::shared_ptr<guided::Constraint>>(compiled);
}

inline guided::ConstraintSpec regex_spec(std::string pattern) {
  return {.kind = guided::ConstraintKind::kRegex, .source = std::move(pattern)};
}
inline guided::ConstraintSpec choice_spec(std::vector<std::string> choices) {
  return {.kind = guided::ConstraintKind::kChoice, .choices = std::move(choices)};
}
inline guided::ConstraintSpec schema_spec(std::string schema) {
  return {.kind = guided::ConstraintKind::kJsonSchema, .source = std::move(schema)};
}

}  // namespace tessera
