#include "kernels/cpu/expert_routes.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/activation_rows.hpp"

namespace tessera {
namespace {

// What reading a column's weights costs, in rows that are multiplied by them: a step of one row
// takes about as long as five rows add to a large one.
constexpr int kReadingCost = 4;

int round_up(int rows) {
  return (rows + kRowsTogether - 1) / kRowsTogether * kRowsTogether;
}

int most_places(const ModelSpec& spec, int max_rows) {
  const int routes = max_rows * spec.experts_per_token;
  return round_up(routes + std::min(spec.num_experts, routes) * (kRowsTogether - 1));
}

void softmax(std::span<float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (float& logit : logits) {
    logit = std::exp(logit - largest);
    sum += static_cast<double>(logit);
  }
  for (float& logit : logits) logit = static_cast<float>(static_cast<double>(logit) / sum);
}

}  // namespace

ExpertRoutes::ExpertRoutes(const ModelSpec& spec, int max_rows)
    : num_experts_(spec.num_experts),
      per_row_(static_cast<std::size_t>(spec.experts_per_token)),
      normalise_(spec.normalise_expert_weights),
      max_places_(most_places(spec, max_rows)),
      routes_(static_cast<std::size_t>(max_rows) * per_row_),
      counts_(static_cast<std::size_t>(num_experts_)) {
  groups_.reserve(counts_.size());
}

void ExpertRoutes::choose(int row, std::span<float> logits) {
  softmax(logits);
  const auto routes =
      std::span(routes_).subspan(per_row_ * static_cast<std::size_t>(row), per_row_);
  constexpr float kTaken = -1.0F;
  float sum = 0.0F;
  for (ExpertRoute& route : routes) {
    std::size_t best = 0;
    while (logits[best] == kTaken) ++best;
    for (std::size_t i = best + 1; i < logits.size(); ++i) {
      if (logits[i] > logits[best]) best = i;
    }
    route = {static_cast<int>(best), logits[best], 0};
    sum += logits[best];
    logits[best] = kTaken;
  }
  for (ExpertRoute& route : routes) {
    if (normalise_) route.weight /= sum;
  }
  std::sort(routes.begin(), routes.end(),
            [](const ExpertRoute& a, const ExpertRoute& b) { return a.expert < b.expert; });
}

void ExpertRoutes::group(int num_rows) {
  const auto routes = std::span(routes_).first(per_row_ * static_cast<std::size_t>(num_rows));
  std::fill(counts_.begin(), counts_.end(), 0);
  for (const ExpertRoute& route : routes) ++counts_[static_cast<std::size_t>(route.expert)];
  groups_.clear();
  total_cost_ = 0;
  int place = 0;
  for (int expert = 0; expert < num_experts_; ++expert) {
    int& count = counts_[static_cast<std::size_t>(expert)];
    if (count == 0) continue;
    groups_.push_back({expert, place, count});
    total_cost_ += cost_of(groups_.back());
    count = place;
    place = round_up(place + groups_.back().rows);
  }
  for (ExpertRoute& route : routes) {
    route.place = counts_[static_cast<std::size_t>(route.expert)]++;
  }
}

std::int64_t ExpertRoutes::cost_of(const ExpertGroup& group) {
  return group.rows + kReadingCost;
}

// Column i has its middle at before + (i + 1/2) cost, and the thread's part begins at
// total * thread / num_threads: both doubled, and multiplied by the number of threads.
int ExpertRoutes::columns_before(const Piece& piece, int thread) const {
  const std::int64_t part = 2 * total_cost_ * piece.count * thread;
  const std::int64_t distance = part - 2 * piece.before * piece.num_threads;
  const std::int64_t cost = piece.cost * piece.num_threads;
  if (distance <= cost) return 0;
  const std::int64_t columns = (distance + cost - 1) / (2 * cost);
  return static_cast<int>(std::min<std::int64_t>(columns, piece.count));
}

}  // namespace tessera
