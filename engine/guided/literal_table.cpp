#include "engine/guided/literal_table.hpp"

#include <algorithm>

#include "engine/text/utf8.hpp"

namespace tessera::guided {

LiteralTable::LiteralTable(std::span<const std::string_view> sorted) {
  std::size_t total = 0;
  for (const std::string_view text : sorted) total += text.size();
  text_.reserve(total);
  begins_.reserve(sorted.size() + 1);
  for (const std::string_view text : sorted) {
    begins_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_ += text;
  }
  begins_.push_back(static_cast<std::uint32_t>(text_.size()));
}

// The strings of `state` from state.begin on whose next bytes are `next`, or come before it.
std::uint32_t LiteralTable::end_of_prefix(State state, std::string_view next) const {
  std::uint32_t low = state.begin;
  std::uint32_t high = state.end;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    const bool within = (*this)[middle].substr(state.depth, next.size()) <= next;
    (within ? low : high) = within ? middle + 1 : middle;
  }
  return low;
}

LiteralTable::State LiteralTable::step(State state, char32_t code_point) const {
  std::string next;
  append_utf8(next, code_point);
  const auto rest = [&](std::uint32_t i) { return (*this)[i].substr(state.depth, next.size()); };
  std::uint32_t low = state.begin;
  for (std::uint32_t high = state.end; low < high;) {
    const std::uint32_t middle = low + (high - low) / 2;
    const bool before = rest(middle) < next;
    (before ? low : high) = before ? middle + 1 : middle;
  }
  if (low == state.end || rest(low) != next) return {};
  const std::uint32_t end = end_of_prefix({low, state.end, state.depth}, next);
  return {low, end, state.depth + static_cast<std::uint32_t>(next.size())};
}

std::vector<char32_t> LiteralTable::next_points(State state) const {
  std::vector<char32_t> points;
  while (state.begin < state.end) {
    const std::string_view rest = (*this)[state.begin].substr(state.depth);
    if (rest.empty()) {
      ++state.begin;
      continue;
    }
    const Utf8Step next = utf8_step(rest);
    points.push_back(next.code_point);
    state.begin = end_of_prefix(state, rest.substr(0, next.bytes));
  }
  return points;
}

}  // namespace tessera::guided
