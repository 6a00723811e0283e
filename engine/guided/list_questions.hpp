// list_questions.hpp — which of many lists a value is in, as few questions with a yes or no.
//
// What is owed behind a value may wait for its verdict on each of two thousand lists (a `const` in
// each branch of an anyOf). Values that are in the same lists are one case; cases are numbered, and
// asked for bit by bit: eleven verdicts instead of two thousand.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/guided/formula.hpp"

namespace tessera::guided {

// Immutable.
class ListQuestions {
 public:
  // `asked`: formulas of a value, sorted and distinct, none of them negated.
  ListQuestions(FormulaPool& formulas, std::span<const Literal> asked);

  // The formulas of the value whose verdicts are wanted.
  const std::vector<Literal>& questions() const { return questions_; }
  // The verdict on one of those asked, by the verdicts on questions().
  bool verdict(Literal asked, const std::vector<bool>& verdicts) const;

 private:
  void number_cases(FormulaPool& formulas, std::span<const Literal> lists);

  std::vector<Literal> questions_;
  std::unordered_map<Literal, std::size_t> of_question_;
  // Where there are many lists:
  std::unordered_map<Literal, std::uint32_t> lists_;
  std::vector<std::vector<std::uint32_t>> cases_;  // [0]: in none; the lists each is in, sorted
  std::size_t first_bit_ = 0;                      // in questions_
};

}  // namespace tessera::guided
