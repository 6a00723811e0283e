#include "engine/text/detokenizer.hpp"

namespace tessera {

std::string Detokenizer::push(TokenId id) {
  std::string text;
  const std::string_view token = tokenizer_.token_text(id);
  if (!token.empty() && !(skip_special_ && tokenizer_.is_special(id))) stream_.push(token, text);
  return text;
}

std::string Detokenizer::flush() {
  std::string text;
  stream_.flush(text);
  return text;
}

}  // namespace tessera
