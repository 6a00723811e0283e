// token_slice.hpp — the tokens below a trie node, seen from a loop over a set of code points.
//
// Where any code points of a set may follow one another (the inside of a string, [a-z]*), nearly
// the whole vocabulary is alive and a walk over it costs a millisecond. A slice has been over it
// once:
//
//   members   tokens whose rest (what follows the node) is code points of the set, the last of them
//             perhaps not yet whole; alive by the loop's promise, as far as their number allows.
//             In a string in which anything may come, escapes are read as well
//   suffixes  the others leave the set at some byte. What leads up to it is alive by the same
//             promise and leads to a position that depends on nothing but the number of code
//             points, so only what begins with that byte needs walking, and that once however many
//             tokens share it: 581 texts for the 1,345 Llama 3 tokens that contain a quote.
//   apart     where so many tokens begin with such a byte that they may be in loops of their own (a
//             space), what lies below that byte's node is left to the walk
//   residual  the others again as a trie of their own, for loops in which it does matter how one
//   got
//             there (the name of a property, as long as it may be one of those declared)
//
// Suffixes and residual are collected when they are first needed.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/ranked_trie.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"
#include "engine/text/code_point_set.hpp"
#include "storage/mutex.hpp"

namespace tessera::guided {

// What follows the byte at which tokens leave the loop.
struct TokenSuffixes {
  struct Token {
    TokenId id = 0;
    std::uint32_t prefix = 0;  // code points before that byte
  };
  struct Span {  // of the tokens in and below a node
    std::uint32_t min_prefix = 0;
    std::uint32_t max_prefix = 0;
  };

  RankedTrie trie;
  std::vector<Token> tokens;  // by rank
  std::vector<Span> spans;    // by node
};

struct TokenSubset {
  RankedTrie trie;
  std::vector<TokenId> ids;  // by rank
};

// Immutable but for what is collected on demand; thread-safe.
class TokenSlice {
 public:
  static constexpr std::uint32_t kUnlimited = ~std::uint32_t{0};

  // `escapes`: those of JSON strings are read too, each for a code point of the set.
  TokenSlice(const Vocabulary& vocabulary, std::uint32_t node, const CodePointSet& set,
             std::optional<Escapes> escapes = {});
  ~TokenSlice();

  bool is(std::uint32_t node, const CodePointSet& set, std::optional<Escapes> escapes) const {
    return node == node_ && escapes == escapes_ && set == set_;
  }
  // A code point of the set as UTF-8, the least.
  std::string_view sample() const { return sample_; }
  std::size_t depth() const { return depth_; }  // of the node
  const CodePointSet& set() const { return set_; }
  // The most code points that a member has, or that another has before it leaves the set.
  std::uint32_t deepest_member() const {
    return members_end_.empty() ? 0 : static_cast<std::uint32_t>(members_end_.size() - 1);
  }
  std::uint32_t deepest_prefix() const { return deepest_prefix_; }
  // Those with more than `limit` code points.
  std::span<const TokenId> members_beyond(std::uint32_t limit) const {
    if (limit >= members_end_.size()) return {};
    return std::span(members_).subspan(members_end_[limit]);
  }
  // Sets the members with at most `limit` code points.
  void add_members(std::uint32_t limit, TokenMask& mask) const;
  // The bytes at which some token leaves the loop, but for those that no UTF-8 goes on with, and
  // the most code points before it does.
  std::span<const std::uint8_t> breaks() const { return breaks_; }
  std::uint32_t max_prefix(std::uint8_t byte) const { return max_prefix_[byte]; }
  const TokenSuffixes& suffixes(std::uint8_t byte) const;
  // Children of the node whose tokens are neither members nor among the suffixes.
  std::span<const std::uint32_t> apart() const { return apart_; }
  // All that are no members; their bytes begin behind the node.
  const TokenSubset& residual() const;
  // Whether that is a small part of what lies below the node.
  bool residual_is_small() const { return num_others_ < members_.size(); }

  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Reach {
    std::size_t bytes = 0;
    std::uint32_t code_points = 0;
    bool dead = false;  // what follows is no escape
  };

  // Behind what of it is read already.
  Reach reach(std::string_view text, Reach reach) const;
  Reach reach(std::string_view text) const { return reach(text, {}); }
  Reach common(std::string_view text, const Reach& before, std::size_t alike) const;
  bool read_escape(std::string_view text, Reach& reach) const;
  std::string_view rest(std::uint32_t rank) const;
  void find_apart();
  bool is_apart(std::uint8_t byte) const;
  void classify();
  void collect_others(std::uint8_t byte, std::vector<std::uint32_t>& ranks) const;
  const TokenMask& members_up_to(std::uint32_t limit) const;
  std::unique_ptr<const TokenSuffixes> collect(std::uint8_t byte) const;
  std::unique_ptr<const TokenSubset> collect_residual() const;

  const Vocabulary& vocabulary_;
  std::uint32_t node_;
  std::size_t depth_;  // of the node
  CodePointSet set_;
  std::optional<Escapes> escapes_;
  std::string sample_;
  std::vector<TokenId> members_;            // by number of code points
  std::vector<std::uint32_t> members_end_;  // [k]: of those with at most k code points
  std::size_t num_others_ = 0;
  struct Other {
    std::uint32_t rank = 0;
    std::uint8_t byte = 0;  // at which it leaves
  };
  std::vector<Other> others_;  // by byte; empty if there are too many to keep
  std::vector<std::uint32_t> apart_;
  std::uint32_t deepest_prefix_ = 0;
  std::vector<std::uint8_t> breaks_;
  std::array<std::uint32_t, 256> max_prefix_{};

  mutable Mutex mutex_;  // while something is collected; all of these are owned
  mutable std::array<std::atomic<const TokenSuffixes*>, 256> suffixes_{};
  mutable std::atomic<const TokenSubset*> residual_{nullptr};
  mutable std::vector<std::atomic<const TokenMask*>> masks_;  // [k]: members_up_to(k)
  mutable std::atomic<std::size_t> bytes_{0};
};

}  // namespace tessera::guided
