#include "gateway/inference/choice_text.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "storage/ids.hpp"

namespace tessera {
namespace {

constexpr std::size_t kShortIdChars = 9;
constexpr std::size_t kIdChars = 24;

std::string random_letters(std::size_t count) {
  constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::array<unsigned char, kIdChars> bytes{};
  random_bytes(bytes.data(), bytes.size());
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += kLetters[bytes[i] % kLetters.size()];
  return out;
}

}  // namespace

// Of well-formed UTF-8: each code point has one byte that continues none.
std::size_t count_code_points(std::string_view text) {
  const auto begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; };
  return static_cast<std::size_t>(std::ranges::count_if(text, begins));
}

void Piece::append(Piece more) {
  text += more.text;
  reasoning += more.reasoning;
  for (ToolCallDelta& call : more.calls) {
    if (call.begins || calls.empty() || calls.back().index != call.index) {
      calls.push_back(std::move(call));
      continue;
    }
    calls.back().arguments += call.arguments;
    calls.back().broken |= call.broken;
  }
  std::ranges::move(more.records, std::back_inserter(records));
}

ChoiceText::ChoiceText(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
                       bool keep_records, const std::optional<AnswerReading>& reading)
    : tokenizer_(tokenizer), detokenizer_(tokenizer), stops_(stops), keep_records_(keep_records) {
  if (!reading) return;
  marks_ = reading->marks;
  parser_.emplace(reading->syntax, reading->options);
  short_ids_ = reading->syntax.tools == ToolFormat::kMistral;
}

Piece ChoiceText::push(std::vector<GeneratedToken> tokens) {
  Piece piece;
  for (GeneratedToken& token : tokens) {
    if (stopped()) break;
    ++num_tokens_;
    sum_logprob_ += static_cast<double>(token.logprob);
    const bool was_reasoning = in_reasoning();
    const std::string text = text_of(token.id);
    if (keep_records_) held_.push_back({{std::move(token), read_code_points_}, read_bytes_});
    read_bytes_ += text.size();
    read_code_points_ += count_code_points(text);
    read(stops_.push(text), piece);
    if (was_reasoning || in_reasoning()) ++num_reasoning_tokens_;
    has_the_call_ = parser_ && parser_->closed();
    if (stops_.hit()) read_end(piece);
  }
  release_records(piece);
  return piece;
}

Piece ChoiceText::flush() {
  Piece piece;
  if (!stopped()) {
    read(stops_.push(detokenizer_.flush()), piece);
    if (!stops_.hit()) read(stops_.flush(), piece);
    read_end(piece);
  }
  const bool at_stop = stops_.hit().has_value();
  release_records(piece);
  for (Held& held : held_) {  // tokens without text at the very end
    if (!at_stop) piece.records.push_back(std::move(held.record));
  }
  held_.clear();
  return piece;
}

// A mark's text, though it is a special token's; what the detokenizer held back stands before it.
std::string ChoiceText::text_of(TokenId id) {
  if (std::ranges::find(marks_, id) == marks_.end()) return detokenizer_.push(id);
  return detokenizer_.flush() + std::string(tokenizer_.token_bytes(id));
}

void ChoiceText::read(const std::string& text, Piece& piece) {
  visible_bytes_ += text.size();
  if (parser_) {
    add(parser_->push(text), piece);
  } else {
    piece.text += text;
  }
}

// No more text comes: what the parser held back.
void ChoiceText::read_end(Piece& piece) {
  if (parser_) add(parser_->flush(), piece);
}

void ChoiceText::add(AnswerDelta delta, Piece& piece) {
  for (ToolCallDelta& call : delta.calls) {
    if (!call.begins) continue;
    if (short_ids_) {
      if (call.id.size() != kShortIdChars) call.id = random_letters(kShortIdChars);
    } else {
      call.id = "call_" + random_letters(kIdChars);
    }
  }
  piece.append({.text = std::move(delta.content),
                .reasoning = std::move(delta.reasoning),
                .calls = std::move(delta.calls)});
}

void ChoiceText::release_records(Piece& piece) {
  while (!held_.empty() && held_.front().begin_bytes < visible_bytes_) {
    piece.records.push_back(std::move(held_.front().record));
    held_.pop_front();
  }
}

}  // namespace tessera
