#include "gateway/inference/prompt_echo.hpp"

#include <utility>

#include "engine/text/detokenizer.hpp"

namespace tessera {

PromptEcho::PromptEcho(const Tokenizer& tokenizer, std::string text,
                       const std::vector<TokenId>& ids, bool scored) {
  piece_.text = std::move(text);
  if (!scored) return;
  num_records_ = ids.size();
  Detokenizer detokenizer(tokenizer);
  std::size_t offset = 0;
  for (const TokenId id : ids) {
    offsets_.push_back(offset);
    offset += count_code_points(detokenizer.push(id));
  }
  piece_.records.push_back({.token = {.id = ids.front()}, .has_logprob = false});
}

void PromptEcho::add(std::vector<GeneratedToken> scored) {
  for (GeneratedToken& token : scored) {
    piece_.records.push_back(
        {.token = std::move(token), .text_offset = offsets_.at(piece_.records.size())});
  }
}

}  // namespace tessera
