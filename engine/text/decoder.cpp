#include "engine/text/decoder.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "engine/text/byte_alphabet.hpp"

namespace tessera {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that "<0x41>" stands for. ("+5" is a number in hexadecimal to Hugging Face.)
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  const int high = token[3] == '+' ? 0 : hex_value(token[3]);
  const int low = hex_value(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

std::string bytes_of_level(std::string_view token) {
  // A text with a character outside the byte alphabet stands for itself.
  return bytes_from_alphabet(token).value_or(std::string(token));
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  std::size_t at = 0;
  while (!from.empty() && (at = text.find(from, done)) != text.npos) {
    out += text.substr(done, at - done);
    out += to;
    done = at + from.size();
  }
  return out += text.substr(done);
}

// Spaces that a tokenizer for English put in.
std::string cleaned_up(std::string text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {
      {{" .", "."},
       {" ?", "?"},
       {" !", "!"},
       {" ,", ","},
       {" ' ", "'"},
       {" n't", "n't"},
       {" 'm", "'m"},
       {" do not", " don't"},
       {" 's", "'s"},
       {" 've", "'ve"},
       {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) text = replace_all(text, from, to);
  return text;
}

}  // namespace

std::string_view Decoder::Strip::apply(std::string_view token) const {
  for (std::size_t i = 0; i < start && token.starts_with(content); ++i) {
    token.remove_prefix(content.size());
  }
  for (std::size_t i = 0; i < stop && token.ends_with(content); ++i) {
    token.remove_suffix(content.size());
  }
  return token;
}

std::string Decoder::WordPiece::apply(std::string_view token, bool first) const {
  std::string text(token);
  if (!first) {
    text = token.starts_with(prefix) ? text.substr(prefix.size()) : ' ' + text;
  }
  return cleanup ? cleaned_up(std::move(text)) : text;
}

void Decoder::Stream::feed(std::size_t step, std::string_view token, std::string& out) {
  if (step == states_.size()) {
    out += token;
    return;
  }
  State& state = states_[step];
  const bool first = !std::exchange(state.after_first, true);
  const Step& kind = decoder_->steps_[step];
  if (const auto* replacement = std::get_if<Replacement>(&kind)) {
    feed(step + 1, replacement->apply(token), out);
  } else if (std::holds_alternative<ByteLevel>(kind)) {
    feed(step + 1, state.repairer.push(bytes_of_level(token)), out);
  } else if (std::holds_alternative<ByteFallback>(kind)) {
    feed_byte_fallback(step, token, out);
  } else if (const auto* strip = std::get_if<Strip>(&kind)) {
    if (strip->fused) return feed_fused_strip(step, token, out);
    feed(step + 1, strip->apply(token), out);
  } else if (const auto* metaspace = std::get_if<Metaspace>(&kind)) {
    const bool drop = first && metaspace->drop_at_start;
    feed(step + 1, replace_all(token, metaspace->replacement, drop ? "" : " "), out);
  } else if (const auto* word_piece = std::get_if<WordPiece>(&kind)) {
    feed(step + 1, word_piece->apply(token, first), out);
  } else if (const auto* bpe = std::get_if<Bpe>(&kind)) {
    const std::string before = std::exchange(state.held, std::string(token));
    if (!first) feed(step + 1, replace_all(before, bpe->suffix, " "), out);
  } else if (std::holds_alternative<JoinWithSpaces>(kind)) {
    feed(step + 1, first ? std::string(token) : ' ' + std::string(token), out);
  } else {
    feed(step + 1, token, out);
  }
}

void Decoder::Stream::feed_byte_fallback(std::size_t step, std::string_view token,
                                         std::string& out) {
  if (const auto byte = byte_of(token)) {
    states_[step].held.push_back(*byte);
    return;
  }
  release_bytes(step, out);
  feed(step + 1, token, out);
}

// A run of byte tokens is text, or else each of them is a U+FFFD.
void Decoder::Stream::release_bytes(std::size_t step, std::string& out) {
  const std::string bytes = std::exchange(states_[step].held, {});
  if (bytes.empty()) return;
  if (is_utf8(bytes)) return feed(step + 1, bytes, out);
  for (std::size_t i = 0; i < bytes.size(); ++i) feed(step + 1, kReplacementUtf8, out);
}

void Decoder::Stream::feed_fused_strip(std::size_t step, std::string_view text, std::string& out) {
  const Strip& strip = std::get<Strip>(decoder_->steps_[step]);
  State& state = states_[step];
  while (state.stripped < strip.start && text.starts_with(strip.content)) {
    text.remove_prefix(strip.content.size());
    ++state.stripped;
  }
  if (!text.empty()) state.stripped = strip.start;
  state.held += text;
  std::string_view certain = state.held;
  for (std::size_t i = 0; i < strip.stop && certain.ends_with(strip.content); ++i) {
    certain.remove_suffix(strip.content.size());
  }
  const std::string shown(certain);
  state.held.erase(0, shown.size());
  feed(step + 1, shown, out);
}

// Passes on what step `step` kept back, the text being at its end.
void Decoder::Stream::finish(std::size_t step, std::string& out) {
  State& state = states_[step];
  const Step& kind = decoder_->steps_[step];
  if (std::holds_alternative<ByteLevel>(kind)) {
    const std::string rest = state.repairer.flush();
    if (!rest.empty()) feed(step + 1, rest, out);
  } else if (std::holds_alternative<ByteFallback>(kind)) {
    release_bytes(step, out);
  } else if (const auto* bpe = std::get_if<Bpe>(&kind)) {
    if (state.after_first) feed(step + 1, replace_all(state.held, bpe->suffix, ""), out);
  }
}

void Decoder::Stream::flush(std::string& out) {
  for (std::size_t step = 0; step < states_.size(); ++step) finish(step, out);
  states_.assign(states_.size(), State());
}

std::string Decoder::middle_bytes(std::string_view token) const {
  std::string text(token);
  for (const Step& step : steps_) {
    if (const auto* replacement = std::get_if<Replacement>(&step)) text = replacement->apply(text);
    if (std::holds_alternative<ByteLevel>(step)) text = bytes_of_level(text);
    if (std::holds_alternative<ByteFallback>(step)) {
      if (const auto byte = byte_of(text)) return {*byte};
    }
    if (const auto* strip = std::get_if<Strip>(&step); strip && !strip->fused) {
      text = std::string(strip->apply(text));
    }
    if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
      text = replace_all(text, metaspace->replacement, " ");
    }
    if (const auto* word_piece = std::get_if<WordPiece>(&step)) {
      text = word_piece->apply(text, false);
    }
    if (const auto* bpe = std::get_if<Bpe>(&step)) text = replace_all(text, bpe->suffix, " ");
    if (std::holds_alternative<JoinWithSpaces>(step)) text.insert(0, 1, ' ');
  }
  return text;
}

}  // namespace tessera
