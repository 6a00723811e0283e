// perplexity.hpp — how well a model predicts the text of the demo's held-out prompts.
//
// The prompts of the three tasks, one after another, in chunks of 128 tokens; each chunk is a
// sequence of its own and every token of it but the first is predicted.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "engine/model/forward.hpp"
#include "engine/text/tokenizer.hpp"
#include "kernels/backend.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera::goldens {

inline constexpr int kChunk = 128;

inline BackendLimits perplexity_limits(HeadForm head = HeadForm::kBf16) {
  return {.max_rows = kChunk,
          .max_seqs = 1,
          .max_logit_rows = kChunk,
          .num_blocks = kChunk / 16,
          .block_size = 16,
          .num_threads = 2,
          .head_form = head};
}

inline std::vector<TokenId> held_out_tokens(const std::string& tokenizer_json) {
  std::string text;
  for (const char* name : {"order-json", "triage", "morvish"}) {
    std::istringstream lines(read_file(kDemo / "heldout" / (std::string(name) + ".jsonl")));
    for (std::string line; std::getline(lines, line);) {
      text += nlohmann::json::parse(line).at("prompt").get<std::string>() + "\n";
    }
  }
  const auto tokenizer = Tokenizer::from_json(tokenizer_json);
  return tokenizer.value()->encode(text);
}

inline double negative_log_probability(std::span<const float> logits, TokenId token) {
  const double largest = *std::ranges::max_element(logits);
  double total = 0.0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(total) - static_cast<double>(logits[static_cast<std::size_t>(token)]);
}

// Computes a chunk: backend.logits(i) are then those after its token i.
inline void run_chunk(Backend& backend, const ModelSpec& spec, std::span<const TokenId> chunk) {
  std::vector<std::int32_t> positions(kChunk);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<BlockId> blocks(kChunk / 16);
  std::iota(blocks.begin(), blocks.end(), 0);
  const std::vector<std::int32_t> seq_indptr = {0, kChunk};
  const std::vector<std::int32_t> block_indptr = {0, kChunk / 16};
  const std::vector<AdapterSlot> slots = {kNoAdapter};
  run_forward(backend, spec.num_layers(),
              {.tokens = chunk,
               .positions = positions,
               .seq_indptr = seq_indptr,
               .blocks = blocks,
               .block_indptr = block_indptr,
               .slots = slots,
               .head_rows = positions});
}

// Mean surprise at each token but the first of the chunk that was run, in nats.
inline double surprise(Backend& backend, std::span<const TokenId> chunk) {
  double sum = 0.0;
  for (int i = 0; i + 1 < kChunk; ++i) {
    sum += negative_log_probability(backend.logits(i), chunk[static_cast<std::size_t>(i + 1)]);
  }
  return sum / (kChunk - 1);
}

// Of the first `chunks` chunks of `tokens`.
inline double perplexity(Backend& backend, const ModelSpec& spec, std::span<const TokenId> tokens,
                         int chunks) {
  double sum = 0.0;
  for (int i = 0; i < chunks; ++i) {
    const auto chunk = tokens.subspan(static_cast<std::size_t>(i) * kChunk, kChunk);
    run_chunk(backend, spec, chunk);
    sum += surprise(backend, chunk);
  }
  return std::exp(sum / chunks);
}

}  // namespace tessera::goldens
