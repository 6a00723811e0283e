#include "gateway/choice_text.hpp"

#include <utility>

namespace tessera {

Piece ChoiceText::push(std::vector<GeneratedToken> tokens) {
  Piece piece;
  for (GeneratedToken& token : tokens) {
    if (stopped()) break;
    ++num_tokens_;
    const std::string text = detokenizer_.push(token.id);
    if (keep_records_) held_.push_back({std::move(token), read_bytes_});
    read_bytes_ += text.size();
    piece.text += stops_.push(text);
  }
  release_records(piece);
  return piece;
}

Piece ChoiceText::flush() {
  Piece piece;
  if (!stopped()) piece.text = stops_.push(detokenizer_.flush());
  if (!stopped()) piece.text += stops_.flush();
  release_records(piece);
  for (TokenRecord& record : held_) {  // tokens without text at the very end
    if (!stopped()) piece.records.push_back(std::move(record));
  }
  held_.clear();
  return piece;
}

void ChoiceText::release_records(Piece& piece) {
  visible_bytes_ += piece.text.size();
  while (!held_.empty() && held_.front().text_offset < visible_bytes_) {
    piece.records.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

}  // namespace tessera
