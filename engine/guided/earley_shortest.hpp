// earley_shortest.hpp — a shortest way to the end of a text that a grammar has begun.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/guided/earley_lexer.hpp"
#include "engine/guided/earley_rows.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar.hpp"

namespace tessera::guided {

// Lengths count bytes. A lexeme's shortest text is the reader's, so "shortest" is up to its choice.
// Not thread-safe; all that it is given outlives it. Spends fuel, and no less than the text's
// bytes.
class EarleyShortest {
 public:
  // One way to go on: `text` ends a lexeme that began in `row`.
  struct Start {
    RowId row;
    LexemeId lexeme;
    std::string text;
  };

  EarleyShortest(const Grammar& grammar, EarleyRows& rows, LexemeReader& reader, Fuel& fuel)
      : grammar_(grammar), rows_(rows), reader_(reader), fuel_(fuel) {}

  std::string rest(std::span<const Start> starts);

 private:
  using Length = std::uint64_t;
  static constexpr Length kNever = ~Length{0};

  // A step of the search: after `length` bytes, `to` is complete.
  struct Step {
    Length length;
    ReturnId to;
    std::size_t before;  // the step that came before; kFirst + i for starts[i]
    Dot dot;             // whose symbols were derived in this step
  };

  void measure();
  Length measured(Dot dot) const;
  Length length_of(GrammarSymbol symbol) const;
  const std::string& text_of(LexemeId lexeme);
  void write(Dot dot, std::string& out);
  std::string retrace(std::span<const Start> starts, std::size_t step);
  void push(Step step);
  void begin(std::span<const Start> starts);

  const Grammar& grammar_;
  EarleyRows& rows_;
  LexemeReader& reader_;
  Fuel& fuel_;
  bool measured_ = false;
  std::vector<std::optional<std::string>> texts_;  // by lexeme
  std::vector<Length> lengths_;                    // by nonterminal
  std::vector<Dot> best_;                          // by nonterminal: the rule that gives it
  std::vector<Step> steps_;
};

}  // namespace tessera::guided
