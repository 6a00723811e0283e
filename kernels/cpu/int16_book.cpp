#include "kernels/cpu/int16_book.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/nf4.hpp"

namespace tessera {
namespace {

using Book = std::array<float, 16>;

float largest_magnitude(const Book& book) {
  float largest = 0.0F;
  for (const float value : book) largest = std::max(largest, std::abs(value));
  return largest;
}

Int16Book rounded(const Book& book, float factor) {
  Int16Book integers;
  integers.factor = factor;
  for (std::size_t i = 0; i < integers.integers.size(); ++i) {
    integers.integers[i] = static_cast<std::int16_t>(std::lrint(book[i % book.size()] * factor));
  }
  return integers;
}

double squared_error(const Book& book, double factor) {
  double error = 0.0;
  for (const float value : book) {
    const double scaled = static_cast<double>(value) * factor;
    const double difference = (std::nearbyint(scaled) - scaled) / factor;
    error += difference * difference;
  }
  return error;
}

float best_factor(const Book& book, float largest) {
  constexpr int kStepsPerUnit = 64;
  double best = 0.0;
  double least = HUGE_VAL;
  for (int step = kLargestInBook * kStepsPerUnit; step > kLargestInBook * kStepsPerUnit / 2;
       --step) {
    const double factor = static_cast<double>(step) / kStepsPerUnit / static_cast<double>(largest);
    const double error = squared_error(book, factor);
    if (error >= least) continue;
    least = error;
    best = factor;
  }
  return static_cast<float>(best);
}

Int16Book search(const Book& book) {
  const float largest = largest_magnitude(book);
  const bool is_integral = std::all_of(book.begin(), book.end(),
                                       [](float value) { return value == std::nearbyint(value); });
  if (largest == 0.0F || (is_integral && largest <= kLargestInBook)) return rounded(book, 1.0F);
  return rounded(book, best_factor(book, largest));
}

}  // namespace

// A model's matrices mostly have one book, which takes some milliseconds to search for.
Int16Book make_int16_book(const Book& book) {
  if (book == kNf4Values) return rounded(book, kBookFactor);
  thread_local Book last = {};
  thread_local Int16Book made = search(last);
  if (book != last) {
    made = search(book);
    last = book;
  }
  return made;
}

}  // namespace tessera
