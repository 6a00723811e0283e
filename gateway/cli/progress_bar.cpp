#include "gateway/cli/progress_bar.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <unistd.h>

#include "gateway/cli/commands.hpp"

namespace tessera {
namespace {

constexpr int kWidth = 32;
constexpr int kLines = 10;  // in a log

int steps_of(std::uint64_t done, std::uint64_t total, int steps) {
  if (total == 0) return steps;
  const double part = static_cast<double>(done) / static_cast<double>(total);
  return static_cast<int>(std::min(part, 1.0) * steps);
}

}  // namespace

ProgressBar::ProgressBar(std::string what)
    : what_(std::move(what)), terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressBar::show(std::uint64_t bytes_done, std::uint64_t bytes_total) {
  const int step = steps_of(bytes_done, bytes_total, terminal_ ? kWidth : kLines);
  if (step == shown_ || (!terminal_ && step == 0)) return;
  shown_ = step;
  const std::string bytes = human_bytes(static_cast<double>(bytes_done)) + " of " +
                            human_bytes(static_cast<double>(bytes_total));
  if (!terminal_) {
    std::fprintf(stderr, "tessera: %s: %d %%, %s\n", what_.c_str(), step * 100 / kLines,
                 bytes.c_str());
    return;
  }
  const std::string bar = std::string(static_cast<std::size_t>(step), '#') +
                          std::string(static_cast<std::size_t>(kWidth - step), '.');
  std::fprintf(stderr, "\r\033[K%s [%s] %s", what_.c_str(), bar.c_str(), bytes.c_str());
  if (bytes_done >= bytes_total) std::fputc('\n', stderr);
  std::fflush(stderr);
}

}  // namespace tessera
