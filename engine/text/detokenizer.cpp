#include "engine/text/detokenizer.hpp"

namespace tessera {

std::string Detokenizer::push(TokenId id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  return repairer_.push(tokenizer_.token_bytes(id));
}

std::string Detokenizer::flush() {
  return repairer_.flush();
}

}  // namespace tessera
