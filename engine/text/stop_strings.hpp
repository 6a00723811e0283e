// stop_strings.hpp — finds the first stop string in a text that arrives in pieces.
//
// Text is shown as early as possible and no earlier: what could still be the beginning of a stop
// string is held back. The text ends where the stop begins; the stop itself is never shown. The
// first stop to be complete wins, and of several that are complete at the same byte the longest;
// so the answer does not depend on how the text was cut into pieces.
//
// One Knuth-Morris-Pratt automaton per stop: constant work per byte, whatever the text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Not thread-safe: one per choice, used by the connection that owns it.
class StopStrings {
 public:
  // Empty stops are dropped. With no stops, text passes through.
  explicit StopStrings(const std::vector<std::string>& stops);

  // Takes the next piece; returns what may be shown now. After a hit nothing more is shown.
  std::string push(std::string_view text);

  // The text ends without a stop: returns what was held back.
  std::string flush();

  // The stop that was found.
  const std::optional<std::string>& hit() const { return hit_; }

 private:
  struct Automaton {
    std::string stop;
    std::vector<std::size_t> fallback;  // [i]: longest proper border of the stop's first i bytes
    std::size_t matched = 0;            // bytes of the stop that the text now ends with

    void advance(char byte);
  };

  bool complete(const Automaton& automaton) const {
    return automaton.matched == automaton.stop.size();
  }

  std::vector<Automaton> automata_;  // longest stop first
  std::string held_;                 // seen and not yet shown
  std::optional<std::string> hit_;
};

}  // namespace tessera
