// progress_bar.hpp — how far a long step is, on stderr: a bar that moves where that is a terminal,
// a line at every tenth elsewhere.
#pragma once

#include <cstdint>
#include <string>

namespace tessera {

// Not thread-safe.
class ProgressBar {
 public:
  // what: "quantising", "reading demo.tessera"
  explicit ProgressBar(std::string what);

  // Draws if enough has changed; at total it ends its line.
  void show(std::uint64_t bytes_done, std::uint64_t bytes_total);

 private:
  std::string what_;
  bool terminal_;
  int shown_ = -1;  // steps of the bar, or tenths
};

}  // namespace tessera
