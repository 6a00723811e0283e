// code_point_set.hpp — sets of code points, as character classes and Unicode properties are.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

inline constexpr char32_t kCodePointEnd = 0x110000;

// Sorted ranges that do not touch. Thread-safe while it is not changed.
class CodePointSet {
 public:
  struct Range {
    char32_t begin;
    char32_t end;  // one past the last

    bool operator==(const Range&) const = default;
  };

  CodePointSet() = default;
  explicit CodePointSet(char32_t only) { add(only, only + 1); }

  // Adds [begin, end). Constant time where that lies behind all ranges so far.
  void add(char32_t begin, char32_t end);
  void add(const CodePointSet& other);

  CodePointSet complement() const;
  CodePointSet intersection(const CodePointSet& other) const;

  bool contains(char32_t code_point) const {
    return code_point < kAsciiEnd ? ascii_[code_point] : contains_beyond_ascii(code_point);
  }
  bool empty() const { return ranges_.empty(); }
  std::span<const Range> ranges() const { return ranges_; }
  bool operator==(const CodePointSet& other) const { return ranges_ == other.ranges_; }

 private:
  static constexpr char32_t kAsciiEnd = 0x80;

  bool contains_beyond_ascii(char32_t code_point) const;
  void note_ascii(Range range);

  std::vector<Range> ranges_;
  std::bitset<kAsciiEnd> ascii_;
};

}  // namespace tessera
