// literal_table.hpp — a finite set of strings, stepped through by narrowing a range.
//
// The strings are sorted and distinct, so those that begin with what has been read are neighbours:
// a state is a range of strings and how many of their bytes have been read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::guided {

// Immutable. Strings are well-formed UTF-8.
class LiteralTable {
 public:
  struct State {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;    // one past the last string; begin == end: dead
    std::uint32_t depth = 0;  // bytes read

    bool dead() const { return begin == end; }
  };

  explicit LiteralTable(std::span<const std::string_view> sorted);

  State start() const { return {0, size(), 0}; }
  State step(State state, char32_t code_point) const;
  // The shortest of the strings comes first among those that share a prefix.
  bool accepting(State state) const { return (*this)[state.begin].size() == state.depth; }
  // The distinct code points that can follow, in order.
  std::vector<char32_t> next_points(State state) const;

  std::uint32_t size() const { return static_cast<std::uint32_t>(begins_.size() - 1); }
  std::string_view operator[](std::uint32_t index) const {
    return std::string_view(text_).substr(begins_[index], begins_[index + 1] - begins_[index]);
  }
  std::size_t bytes() const { return text_.capacity() + begins_.capacity() * sizeof(begins_[0]); }

 private:
  std::uint32_t end_of_prefix(State state, std::string_view next) const;

  std::string text_;
  std::vector<std::uint32_t> begins_;  // (size + 1,)
};

}  // namespace tessera::guided
