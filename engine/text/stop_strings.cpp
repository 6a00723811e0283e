#include "engine/text/stop_strings.hpp"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

// The failure function of Knuth, Morris and Pratt.
std::vector<std::size_t> borders(std::string_view stop) {
  std::vector<std::size_t> border(stop.size() + 1, 0);
  std::size_t length = 0;
  for (std::size_t i = 1; i < stop.size(); ++i) {
    while (length > 0 && stop[i] != stop[length]) length = border[length];
    if (stop[i] == stop[length]) ++length;
    border[i + 1] = length;
  }
  return border;
}

}  // namespace

StopStrings::StopStrings(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) automata_.push_back({.stop = stop, .fallback = borders(stop)});
  }
  std::stable_sort(automata_.begin(), automata_.end(), [](const Automaton& a, const Automaton& b) {
    return a.stop.size() > b.stop.size();
  });
}

void StopStrings::Automaton::advance(char byte) {
  while (matched > 0 && stop[matched] != byte) matched = fallback[matched];
  if (stop[matched] == byte) ++matched;
}

std::string StopStrings::push(std::string_view text) {
  if (hit_) return {};
  std::size_t held_max = 0;  // bytes at the end of the text that may begin a stop
  for (const char byte : text) {
    held_.push_back(byte);
    held_max = 0;
    for (Automaton& automaton : automata_) {
      automaton.advance(byte);
      held_max = std::max(held_max, automaton.matched);
      if (!complete(automaton)) continue;
      hit_ = automaton.stop;
      held_.resize(held_.size() - automaton.stop.size());
      return std::exchange(held_, {});
    }
  }
  if (text.empty()) return {};
  std::string shown = held_.substr(0, held_.size() - held_max);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::flush() {
  return std::exchange(held_, {});
}

}  // namespace tessera
