// text_recognizer.hpp — texts of one regular language: the constraints `regex` and `choice`.
//
// A TextDfa read as plain UTF-8 (RFC 3629: no overlong forms, no surrogates). While a code point is
// half read, a byte is alive only if some code point that can still come of it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/guided/token_walk.hpp"

namespace tessera::guided {

// Position: `lex` is the state of the TextDfa, `mode` what has been read of a code point.
class TextRecognizer final : public Recognizer {
 public:
  // `pool` outlives it.
  TextRecognizer(RegexPool& pool, RegexId language)
      : pool_(pool), dfa_(pool), language_(language) {}

  Position start() override;
  Position step(Position position, std::uint8_t byte) override;
  bool accepting(Position position) override;
  bool finished(Position position) override;
  MaskKey mask_key(Position position) override;
  ByteLoop loop(Position position) override;
  bool has_classes(Position position) override { return !position.dead() && position.mode == 0; }
  TextReader text_reader(Position position) override {
    return {&dfa_, static_cast<TextDfa::State>(position.lex), false};
  }
  Position text_position(Position, TextDfa::State state) override { return at(state); }
  TextClasses text_classes(Position position) override;
  bool takes_classes(Position position, const TextClasses& classes) override {
    return dfa_.takes(static_cast<TextDfa::State>(position.lex), classes.number);
  }
  TextClasses refine_classes(Position from, Position at) override;
  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override;
  std::optional<std::uint8_t> forced(Position position) override;
  std::string shortest_rest(Position position) override;
  std::size_t bytes() const override;

 private:
  Position at(TextDfa::State state) const;
  TextClasses classes_of(std::uint32_t region) const;
  Position begin_code_point(Position position, std::uint8_t lead);
  Position continue_code_point(Position position, std::uint8_t byte);
  Position pending(Position position, std::uint32_t length, std::uint32_t left, char32_t bits);

  RegexPool& pool_;
  TextDfa dfa_;
  RegexId language_;
  TokenWalk<TextRecognizer> walk_;
};

}  // namespace tessera::guided
