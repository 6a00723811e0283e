// text_dfa.hpp — a lazy deterministic automaton over code points, for several languages at once.
//
// A state is a tuple of terms of the RegexPool: the language that the text must be in, and others
// of which only the verdict at the end is wanted (which branch of an anyOf it was). States are made
// when they are first stepped into and kept; a state whose first language is empty is kDead, so a
// live state always has an end within reach.
//
// Not thread-safe; owned by one constraint.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/guided/code_point_partition.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// What keeps a state's text going: as long as each next code point is in `set`, up to `remaining`
// more of them, every string is alive. Any one code point of `same` (within `set`) leads to one and
// the same state. The mask layer turns it into a precomputed slice of the vocabulary.
struct TextLoop {
  std::uint32_t set = 0;        // index for loop_set(); 0: there is none
  std::uint32_t remaining = 0;  // code points; RegexPool::kUnbounded: no end
  std::uint32_t same = 0;       // index for loop_set(); 0: not known
};

class TextDfa {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;

  explicit TextDfa(RegexPool& pool);
  ~TextDfa();

  // kDead if `must` is empty. `also` may be empty.
  State start(RegexId must, std::span<const RegexId> also = {});
  State step(State state, char32_t code_point) {
    if (code_point < Partition::kAsciiEnd) {
      const Row& row = rows_[state];
      if (row.classes) {
        const State known = next_[row.first + row.classes->ascii[code_point]];
        if (known != kUnknown) return known;
      }
    }
    return step_anew(state, code_point);
  }
  // The classes that it tells apart, and where one of them leads. `state` is not dead.
  const Partition& classes(State state) {
    return rows_[state].classes ? *rows_[state].classes : make_classes(state);
  }
  State step_class(State state, std::uint32_t code_point_class) {
    const State known = next_[rows_[state].first + code_point_class];
    return known != kUnknown ? known : step_class_anew(state, code_point_class);
  }
  // Whether some code point of [begin, end) leads to a live state (for \u escapes half read).
  bool any_step(State state, char32_t begin, char32_t end);
  bool accepts(State state) const;                 // the text so far is in `must`
  bool matches(State state, std::size_t i) const;  // the text so far is in `also[i]`
  TextLoop loop(State state);
  const CodePointSet& loop_set(std::uint32_t set) const;  // stays where it is
  // Classes of code points that are no coarser than the states tell them apart, in `state` and most
  // of those that short texts lead to: a partition's number. kNoRegion if they would be too many.
  static constexpr std::uint32_t kNoRegion = ~std::uint32_t{0};
  std::uint32_t region(State state);
  const Partition& region_classes(std::uint32_t region) const;
  // Whether code points of one class lead from `state` to one state.
  bool takes(State state, std::uint32_t region);
  // Gives `state` another region, which `at` takes as well.
  std::uint32_t refine_region(State state, State at);
  // A state that no text of at most `horizon` code points can tell from this one (what is alive,
  // what is accepted, what matches). States that differ in counts beyond the horizon share it, so
  // it is what a mask depends on if no token is longer.
  State seen_up_to(State state, std::uint32_t horizon);
  // That for the pool's horizon: the state that a mask depends on. `state` itself if none was set.
  State mask_state(State state);
  // The only code point that can follow, where the text cannot end here; 0 if there is a choice.
  char32_t forced(State state);
  // A shortest rest of the text (UTF-8).
  std::string shortest_rest(State state);
  RegexPool& pool();
  std::size_t bytes() const;

 private:
  static constexpr State kUnknown = ~State{0};
  // Where a state leads: one entry of next_ for each class of code points that it tells apart.
  struct Row {
    const Partition* classes = nullptr;  // once the state was stepped from
    std::uint32_t first = 0;             // in next_; class c is at first + c
  };

  State step_anew(State state, char32_t code_point);
  const Partition& make_classes(State state);
  State step_class_anew(State state, std::uint32_t code_point_class);

  std::vector<Row> rows_;  // by state; [kDead] never has any
  std::vector<State> next_;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::guided
