// prompt_echo.hpp — a completion's prompt as it stands before the answer, with its
// log-probabilities if those are asked for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/text/tokenizer.hpp"
#include "gateway/inference/choice_text.hpp"

namespace tessera {

// Not thread-safe: owned by the connection's strand. Shared by the choices of a prompt.
class PromptEcho {
 public:
  // `text` is shown, whatever the tokenizer would make of `ids`. `scored`: log-probabilities of all
  // ids but the first are to come.
  PromptEcho(const Tokenizer& tokenizer, std::string text, const std::vector<TokenId>& ids,
             bool scored);

  // The next log-probabilities.
  void add(std::vector<GeneratedToken> scored);
  bool complete() const { return piece_.records.size() == num_records_; }

  const Piece& piece() const { return piece_; }
  std::size_t num_code_points() const { return count_code_points(piece_.text); }

 private:
  std::vector<std::size_t> offsets_;  // of the ids' texts, in code points
  std::size_t num_records_ = 0;       // in the end
  Piece piece_;
};

}  // namespace tessera
