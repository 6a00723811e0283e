// regex_parser.hpp — reads a pattern into pieces: structure as it stands, and sets of code points.
//
// For translate_regex() alone. The structure (groups, alternatives, repetitions, assertions) goes
// through as it is; each literal and each class becomes a set. Two passes over the same pieces: the
// sets must all be known before one can be written.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/code_point_set.hpp"

namespace tessera {

// Why a pattern is refused; thrown by the parser, caught by translate_regex().
struct RegexRefusal {
  std::string what;
};

// Not thread-safe; one per pattern, which must outlive it.
class RegexParser {
 public:
  explicit RegexParser(std::string_view pattern) : pattern_(pattern) {}

  // A piece of the pattern to write: text as it is, or one of `sets`.
  struct Piece {
    std::string text;
    std::size_t set = kNoSet;
  };
  static constexpr std::size_t kNoSet = ~std::size_t{0};

  void parse();
  std::size_t at() const { return at_; }

  std::vector<CodePointSet> sets;
  std::vector<Piece> pieces;

 private:
  struct Group {
    std::size_t first_piece;
    bool ignore_case_before;
  };

  bool done() const { return at_ >= pattern_.size(); }
  char peek() const { return done() ? '\0' : pattern_[at_]; }
  char take() {
    if (done()) throw RegexRefusal{"ends too early"};
    return pattern_[at_++];
  }
  bool take_if(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t take_code_point();

  void parse_atom();
  void open_group();
  void close_group();
  void parse_escape();
  bool parse_repetition();
  void wrap_atom();
  std::optional<std::pair<std::string, bool>> bounds();

  CodePointSet parse_class(int depth);
  CodePointSet parse_class_item(int depth, bool& is_single, char32_t& single);
  std::optional<CodePointSet> escaped_set(char escaped);
  CodePointSet property(bool negated);
  char32_t escaped_code_point(char escaped);
  char32_t hex_code_point(std::size_t digits_max);

  void put(std::string_view text) { pieces.push_back({std::string(text), kNoSet}); }
  void put_atom(std::string_view text) {
    atom_ = pieces.size();
    put(text);
  }
  void put_literal(char32_t code_point);
  void put_set(CodePointSet set);

  static constexpr std::size_t kNoAtom = ~std::size_t{0};

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::vector<Group> groups_;
  std::size_t atom_ = kNoAtom;  // the piece with which what a repetition would repeat begins
  bool ignore_case_ = false;
  char32_t literal_before_ = 0;  // in a case-insensitive part: the literal just read
};

// What matches `set` whatever the case; of single letters only ASCII ones are supported, and others
// are a RegexRefusal.
CodePointSet without_case(const CodePointSet& set);

}  // namespace tessera
