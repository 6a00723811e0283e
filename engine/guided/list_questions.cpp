#include "engine/guided/list_questions.hpp"

#include <algorithm>
#include <bit>
#include <map>

namespace tessera::guided {
namespace {

constexpr std::size_t kFewLists = 8;  // these are asked for one by one

}  // namespace

ListQuestions::ListQuestions(FormulaPool& formulas, std::span<const Literal> asked) {
  std::vector<Literal> lists;
  for (const Literal place : asked) {
    if (formulas.op(place) == Op::kValues) lists.push_back(place);
  }
  const bool many = lists.size() > kFewLists;
  for (const Literal place : asked) {
    if (many && formulas.op(place) == Op::kValues) continue;
    of_question_.emplace(place, questions_.size());
    questions_.push_back(place);
  }
  if (many) number_cases(formulas, lists);
}

void ListQuestions::number_cases(FormulaPool& formulas, std::span<const Literal> lists) {
  std::map<std::uint32_t, std::vector<std::uint32_t>> in;  // by value: the lists it is in
  for (std::uint32_t i = 0; i < lists.size(); ++i) {
    lists_.emplace(lists[i], i);
    for (const std::uint32_t value : formulas.value_list(lists[i])) in[value].push_back(i);
  }
  formulas.fuel().spend(in.size());
  std::map<std::vector<std::uint32_t>, std::vector<std::uint32_t>> values;  // of each case
  for (const auto& [value, of] : in) values[of].push_back(value);
  cases_.emplace_back();
  first_bit_ = questions_.size();
  std::vector<std::vector<std::uint32_t>> with_bit(std::bit_width(values.size()));
  for (const auto& [of, members] : values) {
    for (std::size_t bit = 0; bit < with_bit.size(); ++bit) {
      if ((cases_.size() >> bit & 1U) == 0) continue;
      with_bit[bit].insert(with_bit[bit].end(), members.begin(), members.end());
    }
    cases_.push_back(of);
  }
  for (auto& members : with_bit) {
    std::ranges::sort(members);
    questions_.push_back(formulas.values(members));
  }
}

bool ListQuestions::verdict(Literal asked, const std::vector<bool>& verdicts) const {
  const auto list = lists_.find(asked);
  if (list == lists_.end()) return verdicts[of_question_.at(asked)];
  std::size_t number = 0;
  for (std::size_t bit = 0; first_bit_ + bit < questions_.size(); ++bit) {
    number |= static_cast<std::size_t>(verdicts[first_bit_ + bit]) << bit;
  }
  return number < cases_.size() && std::ranges::binary_search(cases_[number], list->second);
}

}  // namespace tessera::guided
