#include "gateway/choice_text.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace tessera {
namespace {

// Of well-formed UTF-8: each code point has one byte that continues none.
std::size_t count_code_points(std::string_view text) {
  const auto begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; };
  return static_cast<std::size_t>(std::ranges::count_if(text, begins));
}

}  // namespace

Piece ChoiceText::push(std::vector<GeneratedToken> tokens) {
  Piece piece;
  for (GeneratedToken& token : tokens) {
    if (stopped()) break;
    ++num_tokens_;
    const std::string text = detokenizer_.push(token.id);
    if (keep_records_) held_.push_back({{std::move(token), read_code_points_}, read_bytes_});
    read_bytes_ += text.size();
    read_code_points_ += count_code_points(text);
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
  for (Held& held : held_) {  // tokens without text at the very end
    if (!stopped()) piece.records.push_back(std::move(held.record));
  }
  held_.clear();
  return piece;
}

void ChoiceText::release_records(Piece& piece) {
  visible_bytes_ += piece.text.size();
  while (!held_.empty() && held_.front().begin_bytes < visible_bytes_) {
    piece.records.push_back(std::move(held_.front().record));
    held_.pop_front();
  }
}

}  // namespace tessera
