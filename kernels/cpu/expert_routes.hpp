// expert_routes.hpp — which expert which row is sent to, and how the experts' work is dealt.
//
// The rows that an expert is sent lie together in an array of their own, "places", expert by expert
// in ascending order and within each in the order of the step's rows. All experts' columns are put
// in a line, each as long as its rows cost, and the line is cut into as many equal pieces as there
// are threads: so a few rows that touch a few experts keep all threads as busy as a long prompt
// that touches all.
//
// P2: a row's experts and their weights are functions of the row alone; where it lies is not, but
// changes no bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// A row's part in one expert.
struct ExpertRoute {
  int expert;
  float weight;
  int place;
};

// The rows of one expert: places [first, first + rows); first is a multiple of kRowsTogether.
struct ExpertGroup {
  int expert;
  int first;
  int rows;
};

class ExpertRoutes {
 public:
  ExpertRoutes(const ModelSpec& spec, int max_rows);

  // As many places as the largest step may need.
  int max_places() const { return max_places_; }

  // The `spec.experts_per_token` largest of softmax(logits), ties to the lower index, scaled to a
  // sum of 1 if the model does so; ascending by expert. Called by several threads at once, each
  // with rows of its own. A row whose logits are not finite has weights that are not.
  void choose(int row, std::span<float> logits);

  // Gives every route of rows [0, num_rows) its place.
  void group(int num_rows);

  std::span<const ExpertRoute> of_row(int row) const {
    return std::span(routes_).subspan(per_row_ * static_cast<std::size_t>(row), per_row_);
  }
  std::span<const ExpertGroup> groups() const { return groups_; }

  // Calls work(group, columns) for this thread's piece of the line of all groups, where each has
  // `count` columns (or equal pieces of those).
  template <class Work>
  void for_each_share(int count, int thread, int num_threads, const Work& work) const {
    std::int64_t before = 0;
    for (const ExpertGroup& group : groups_) {
      const std::int64_t cost = cost_of(group);
      const Piece piece{before, cost, count, num_threads};
      const Range columns{columns_before(piece, thread), columns_before(piece, thread + 1)};
      if (columns.begin < columns.end) work(group, columns);
      before += cost * count;
    }
  }

 private:
  struct Piece {
    std::int64_t before;  // cost of the groups before it
    std::int64_t cost;    // of one of its columns
    int count;
    int num_threads;
  };

  static std::int64_t cost_of(const ExpertGroup& group);
  // How many of the piece's columns have their middle before that thread's part of the line.
  int columns_before(const Piece& piece, int thread) const;

  const int num_experts_;
  const std::size_t per_row_;
  const bool normalise_;
  const int max_places_;
  std::int64_t total_cost_ = 0;      // of a column of every group
  std::vector<ExpertRoute> routes_;  // (max_rows, per_row)
  std::vector<ExpertGroup> groups_;
  std::vector<int> counts_;  // (num_experts,) and then the next place of each
};

}  // namespace tessera
