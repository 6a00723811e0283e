// drawn_rows.hpp — a step's requests in the words of Backend::draw(), and what it says of them.
//
// Whatever a LogitAdjuster and a Sampler would be told goes into a DrawRow, and the backend's
// answer becomes what they would have said: the same token, the same log-probabilities.
//
// Owned and called by the engine thread alone.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "engine/generation_request.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/logit_adjuster.hpp"
#include "engine/token_stream.hpp"
#include "kernels/backend.hpp"

namespace tessera {

// One row that is to be drawn. What it points to stays until draw() has returned.
struct RowToDraw {
  int row = 0;  // as of Backend::logits()
  const SamplingParams& params;
  const TokenCounts& counts;
  std::span<const TokenId> ends;  // that min_tokens forbids for now; the request's own too
  int position = 0;
  int num_generated = 0;
  const guided::TokenMask* mask = nullptr;  // null: all
};

class DrawnRows {
 public:
  // `max_rows` at a time: so nothing is allocated later but for lists longer than any before.
  explicit DrawnRows(int max_rows);

  void clear();
  // Whether a backend may draw it: not if its logits are wanted themselves, or more
  // log-probabilities than a backend tells.
  static bool can_draw(const SamplingParams& params);
  std::size_t add(const RowToDraw& row);  // its number for token()
  bool empty() const { return parts_.empty(); }

  // Has the backend draw what was added. False if it leaves that to us.
  bool draw(Backend& backend);

  // What came of row `i`; nullopt if its logits are no distribution. Between
  // draw() and clear().
  std::optional<GeneratedToken> token(std::size_t i) const;

 private:
  // Lists of row i, which move while others are added.
  struct Part {
    std::size_t bias_end;
    std::size_t banned_end;
  };

  std::vector<DrawRow> rows_;
  std::vector<Part> parts_;
  std::vector<TokenBias> biases_;
  std::vector<TokenId> banned_;
  std::span<const DrawnToken> drawn_;
};

}  // namespace tessera
