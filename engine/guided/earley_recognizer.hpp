// earley_recognizer.hpp — the texts of a context-free grammar, byte by byte.
//
// A place in a text is every way in which it can have come about: lexemes that are being read, each
// with the row (earley_rows.hpp) in which it began, and one row for all that ends here. Places are
// interned and step by one look-up once they have stepped before, so a mask that was filled once is
// walked at the speed of an automaton, and equal places have equal masks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/guided/earley_lexer.hpp"
#include "engine/guided/earley_rows.hpp"
#include "engine/guided/earley_shortest.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_walk.hpp"

namespace tessera::guided {

class EarleyRecognizer final : public Recognizer {
 public:
  // `pool` and `fuel` outlive it.
  EarleyRecognizer(Grammar grammar, RegexPool& pool, Fuel& fuel, const GuidedLimits& limits);

  Position start() override { return {.node = start_}; }
  Position step(Position position, std::uint8_t byte) override {
    const std::uint32_t known = table_.get(places_[position.node].next, byte);
    return {.node = known != ByteTable::kUnknown ? known : step_first(position.node, byte)};
  }
  bool accepting(Position position) override { return places_[position.node].accepting; }
  bool finished(Position position) override;
  MaskKey mask_key(Position position) override { return {.low = position.node}; }
  ByteLoop loop(Position position) override;
  void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) override;
  std::optional<std::uint8_t> forced(Position position) override;
  std::string shortest_rest(Position position) override;
  std::size_t bytes() const override;

 private:
  using PlaceId = std::uint32_t;
  static constexpr PlaceId kDead = 0;
  static constexpr LexemeSets::Id kUnknown = ~LexemeSets::Id{0};
  static constexpr std::size_t kBytesOfAfter = 40;  // about, of one entry

  struct Thread {
    RowId row;
    LexemeSets::Id reading;

    bool operator==(const Thread&) const = default;
    auto operator<=>(const Thread&) const = default;
  };
  struct Place {
    std::vector<Thread> threads;  // sorted
    bool accepting = false;
    bool loop_known = false;
    ByteLoop loop = {};
    ByteTable::Row next = {};
  };

  PlaceId step_first(PlaceId place, std::uint8_t byte);
  RowId row_after(std::uint64_t key);
  PlaceId intern(std::vector<Thread>& threads, bool accepting);  // sorts them
  void add_row(RowId row, std::vector<Thread>& threads);
  ByteLoop find_loop(PlaceId place);
  PlaceId after_one_of(PlaceId place, const CodePointSet& set);
  bool is_alike(PlaceId a, PlaceId b) const;
  bool all_follow(PlaceId place, const CodePointSet& set);

  Grammar grammar_;
  Fuel& fuel_;
  std::size_t max_threads_;
  EarleyRows rows_;
  LexemeReader reader_;
  LexemeSets sets_;
  EarleyShortest shortest_;
  std::vector<Place> places_;
  HashIndex index_;
  ByteTable table_;
  std::vector<EarleyRows::Ended> ended_;            // of the step being made
  std::vector<Thread> threads_;                     // likewise
  std::unordered_map<std::uint64_t, RowId> after_;  // by the row and the set that ended in it
  std::vector<LexemeSets::Id> beginnings_;          // by row
  std::size_t thread_bytes_ = 0;
  PlaceId start_ = kDead;
  TokenWalk<EarleyRecognizer> walk_;
};

}  // namespace tessera::guided
