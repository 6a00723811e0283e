// code_point_partition.hpp — which code points a language cannot tell apart.
//
// A partition cuts all code points into classes, so that what follows need be computed once a
// class. ASCII is a direct table. Surrogates are no scalar values and belong to whatever class is
// convenient: nobody steps by one. Partitions are interned: equal ones have one index.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/guided/hash_index.hpp"
#include "engine/text/code_point_set.hpp"

namespace tessera::guided {

inline constexpr char32_t kSurrogateBegin = 0xD800;
inline constexpr char32_t kSurrogateEnd = 0xE000;

inline bool is_surrogate(char32_t c) {
  return c >= kSurrogateBegin && c < kSurrogateEnd;
}

struct Partition {
  struct Span {
    char32_t begin;  // up to the next span's begin
    std::uint32_t of;

    bool operator==(const Span&) const = default;
  };
  static constexpr char32_t kAsciiEnd = 0x80;

  std::array<std::uint8_t, kAsciiEnd> ascii;  // class; numbered in order of appearance
  std::vector<Span> beyond;                   // sorted, the first begins at kAsciiEnd
  std::vector<char32_t> representative;       // (classes,), the member best to read

  std::uint32_t num_classes() const { return static_cast<std::uint32_t>(representative.size()); }
  std::uint32_t class_of(char32_t code_point) const {
    return code_point < kAsciiEnd ? ascii[code_point] : class_beyond(code_point);
  }
  std::uint32_t class_beyond(char32_t code_point) const;
};

// The members of a partition's classes, surrogates left out.
struct ClassMembers {
  std::vector<CodePointSet> sets;    // (classes,)
  std::vector<std::uint32_t> sizes;  // (classes,), code points
};

// Not thread-safe; owned by a RegexPool.
class PartitionTable {
 public:
  using Index = std::uint32_t;
  static constexpr Index kWhole = 0;  // one class

  PartitionTable();

  // Stays where it is.
  const Partition& operator[](Index index) const { return *partitions_[index]; }
  // Made when first asked for; stays where it is.
  const ClassMembers& members(Index index) const;
  // The set and the rest.
  Index of_set(const CodePointSet& set);
  // Each of these (sorted, distinct) is a class of its own, the others are one.
  Index of_points(std::span<const char32_t> points);
  // ASCII characters are together if they have equal labels; the rest is with `beyond`'s label.
  Index of_labels(const std::array<std::uint32_t, Partition::kAsciiEnd>& labels,
                  std::uint32_t beyond);
  // The coarsest that is as fine as both.
  Index product(Index a, Index b);
  std::size_t bytes() const { return bytes_; }

 private:
  Index intern(Partition partition);

  std::vector<std::unique_ptr<const Partition>> partitions_;
  mutable std::vector<std::unique_ptr<const ClassMembers>> members_;
  HashIndex index_;
  struct Product {
    Index a, b, of;
  };
  std::vector<Product> products_;
  HashIndex product_index_;
  mutable std::size_t bytes_ = 0;
};

}  // namespace tessera::guided
